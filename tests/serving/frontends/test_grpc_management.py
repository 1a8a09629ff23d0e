from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest
import pytest_asyncio

from tests.fixtures.archives import BROKEN, write_mar
from tests.serving.frontends.grpc_kit import HANDLER, GrpcHouse, grpc_house, registration

pytestmark = pytest.mark.asyncio(loop_scope="module")

Code = grpc.StatusCode
SERVICE = "org.pytorch.serve.grpc.management.ManagementAPIsService"

DESCRIBING = """\
class Describing:
    def initialize(self, context):
        pass

    def handle(self, data, context):
        if context.get_request_header(0, "describe") == "True":
            return [{"labels": ["a"]}]
        return [1] * len(data)
"""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def house(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[GrpcHouse]:
    root = tmp_path_factory.mktemp("grpc")
    started = [write_mar(root, "described", DESCRIBING), write_mar(root, "described", DESCRIBING, file="v2.mar", version="2.0")]
    for name, handler in (("fresh", HANDLER), ("broken", BROKEN)):
        write_mar(root, name, handler)
    async with grpc_house(root, [registration(path) for path in started]) as made:
        yield made


async def told(house: GrpcHouse, method: str, **fields: Any) -> str:
    response = await house.call(f"{SERVICE}/{method}", **fields)
    text: str = response.msg
    return text


async def test_a_models_whole_life(house: GrpcHouse) -> None:
    message = await told(house, "RegisterModel", url="fresh.mar", initial_workers=1, batch_size=2, synchronous=True)
    assert message == 'Model "fresh" Version: 1.0 registered with 1 initial workers'
    assert (await house.predict("fresh", order={"answer": "alive"})).prediction == b"alive"
    assert await told(house, "ScaleWorker", model_name="fresh", min_worker=2, synchronous=True) == "Workers scaled to 2 for model: fresh"
    [description] = json.loads(await told(house, "DescribeModel", model_name="fresh"))
    assert (description["minWorkers"], description["maxWorkers"], description["batchSize"]) == (2, 2, 2)
    assert await told(house, "UnregisterModel", model_name="fresh") == 'Model "fresh" unregistered'
    with pytest.raises(grpc.RpcError) as caught:
        await house.predict("fresh", input={})
    assert caught.value.code() is Code.NOT_FOUND


async def test_a_model_without_workers_is_there_and_says_so(house: GrpcHouse) -> None:
    assert "registered with 0 initial workers" in await told(house, "RegisterModel", url="fresh.mar", model_name="named")
    assert await told(house, "ScaleWorker", model_name="named", min_worker=1) == "Processing worker updates..."
    await told(house, "UnregisterModel", model_name="named")


async def test_the_list_has_pages(house: GrpcHouse) -> None:
    page = json.loads(await told(house, "ListModels"))
    assert page == {"models": [{"modelName": "described", "modelUrl": "described.mar"}]}
    assert json.loads(await told(house, "ListModels", limit=1, next_page_token=1)) == {"models": []}


async def test_descriptions_of_one_version_of_all_and_the_models_own(house: GrpcHouse) -> None:
    [one] = json.loads(await told(house, "DescribeModel", model_name="described", model_version="2.0", customized=True))
    assert (one["modelVersion"], one["customizedMetadata"]) == ("2.0", {"labels": ["a"]})
    versions = json.loads(await told(house, "DescribeModel", model_name="described", model_version="all"))
    assert sorted(version["modelVersion"] for version in versions) == ["1.0", "2.0"]


async def test_the_default_version_can_be_chosen(house: GrpcHouse) -> None:
    for version in ("2.0", "1.0"):
        message = await told(house, "SetDefault", model_name="described", model_version=version)
        assert message == f'Default version successfully updated for model "described" to "{version}"'
        [description] = json.loads(await told(house, "DescribeModel", model_name="described"))
        assert description["modelVersion"] == version


@pytest.mark.parametrize(
    ("method", "fields", "code", "text"),
    [
        ("DescribeModel", {}, Code.INVALID_ARGUMENT, "Parameter model_name is required."),
        ("DescribeModel", {"model_name": "nobody"}, Code.NOT_FOUND, "Model not found: nobody"),
        ("DescribeModel", {"model_name": "described", "model_version": "9"}, Code.NOT_FOUND, "Model version: 9 does not exist"),
        ("RegisterModel", {}, Code.INVALID_ARGUMENT, "Parameter url is required."),
        ("RegisterModel", {"url": "nothing.mar"}, Code.NOT_FOUND, "nothing.mar"),
        ("RegisterModel", {"url": "fresh.mar", "runtime": "cobol"}, Code.INVALID_ARGUMENT, "Invalid RuntimeType value: cobol"),
        ("RegisterModel", {"url": "described.mar"}, Code.ABORTED, "already registered"),
        ("RegisterModel", {"url": "broken.mar", "initial_workers": 1, "synchronous": True}, Code.INTERNAL, "the weights have gone missing"),
        ("ScaleWorker", {"min_worker": 1}, Code.INVALID_ARGUMENT, "Parameter model_name is required."),
        ("ScaleWorker", {"model_name": "described", "min_worker": 2, "max_worker": 1}, Code.INVALID_ARGUMENT, "max_worker cannot be less"),
        ("SetDefault", {"model_name": "described"}, Code.INVALID_ARGUMENT, "Parameter model_version is required."),
        ("SetDefault", {"model_name": "described", "model_version": "9"}, Code.NOT_FOUND, "9"),
        ("UnregisterModel", {"model_name": "described"}, Code.PERMISSION_DENIED, "Cannot remove default version for model described"),
        ("UnregisterModel", {"model_name": "nobody"}, Code.NOT_FOUND, "Model not found: nobody"),
    ],
)
async def test_errors_have_a_code_and_a_text(house: GrpcHouse, method: str, fields: dict[str, Any], code: Any, text: str) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        await told(house, method, **fields)
    assert (caught.value.code(), text in caught.value.details()) == (code, True), caught.value.details()


async def test_without_the_model_api_models_stay_as_they_are(tmp_path: Path) -> None:
    async with grpc_house(tmp_path, [], model_api=False) as made:
        for method in ("RegisterModel", "UnregisterModel"):
            with pytest.raises(grpc.RpcError, match="Model API disabled") as caught:
                await told(made, method)
            assert caught.value.code() is Code.PERMISSION_DENIED
