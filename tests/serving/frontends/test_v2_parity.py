"""V2 over REST as JSON, over REST in binary and over gRPC: the same request is answered or refused alike."""

from __future__ import annotations

import json
import struct
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, cast

import grpc
import pytest
import pytest_asyncio
from grpc import aio

from flambeau.serving.frontends.grpc_frontend import GrpcFrontend
from flambeau.serving.frontends.grpc_messages import message
from flambeau.serving.frontends.grpc_server import Bounds
from flambeau.serving.frontends.routes import Plane
from flambeau.serving.management import Management
from flambeau.serving.model import ModelConfig
from tests.fixtures.archives import write_mar
from tests.fixtures.waiting import until
from tests.serving.frontends.conftest import House, registration

pytestmark = pytest.mark.asyncio(loop_scope="module")

DATA = """\
class Data:
    def initialize(self, context):
        pass

    def handle(self, rows, context):
        return [row["data"] for row in rows]
"""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def channel(house: House, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[aio.Channel]:
    """To a gRPC door of the house, which now serves a model that answers with its tensors' data."""
    root: Path = tmp_path_factory.mktemp("parity")
    house.repository.register(registration(write_mar(root, "data", DATA)))
    await until(lambda: "data" in {model.name for model in house.dataplane.models()})
    await until(lambda: house.dataplane.standing("data", None).ready)
    metrics = house.frontend.metrics
    nobody = cast(Management, None)
    made = GrpcFrontend(house.dataplane, nobody, metrics, access_log=None, tokens=None, model_api=False, models=ModelConfig())
    server = made.server(frozenset({Plane.INFERENCE}), Bounds(100_000, 100_000))
    [port] = await server.start("127.0.0.1", 0)
    async with aio.insecure_channel(f"127.0.0.1:{port}") as opened:
        yield opened
    await server.stop(1)


async def as_json(house: House, document: Any) -> tuple[int, Any]:
    answer = await house.client.post("/v2/models/data/infer", json=document)
    return answer.status_code, answer.json()


async def as_binary(house: House, document: Any, tail: bytes) -> tuple[int, Any, bytes]:
    text = json.dumps(document).encode()
    headers = {"Inference-Header-Content-Length": str(len(text)), "content-type": "application/octet-stream"}
    answer = await house.client.post("/v2/models/data/infer", content=text + tail, headers=headers)
    length = int(answer.headers.get("inference-header-content-length", len(answer.content)))
    return answer.status_code, json.loads(answer.content[:length]), answer.content[length:]


async def over_grpc(channel: aio.Channel, made: Any) -> Any:
    infer = channel.unary_unary(
        "/inference.GRPCInferenceService/ModelInfer",
        request_serializer=lambda sent: sent.SerializeToString(),
        response_deserializer=message("inference.ModelInferResponse").FromString,
    )
    return await infer(made, timeout=30)


async def test_an_answer_is_the_same_in_all_forms(house: House, channel: aio.Channel) -> None:
    numbers = [0.5, 1.5, -2.0]
    raw = struct.pack("<3f", *numbers)
    tensor: dict[str, Any] = {"name": "x", "shape": [3], "datatype": "FP32"}
    status, answer = await as_json(house, {"id": "1", "inputs": [{**tensor, "data": numbers}]})
    assert (status, answer["outputs"][0]["data"]) == (200, numbers)
    asked = {"id": "1", "inputs": [{**tensor, "parameters": {"binary_data_size": 12}}], "parameters": {"binary_data_output": True}}
    status, head, tail = await as_binary(house, asked, raw)
    assert (status, tail) == (200, raw)
    assert head == {**answer, "outputs": [{**tensor, "parameters": {"binary_data_size": 12}}]}
    status, head, tail = await as_binary(house, {**asked, "parameters": {}}, raw)
    assert (status, head["outputs"][0]["data"], tail) == (200, numbers, b"")
    made = message("inference.ModelInferRequest")(model_name="data", id="1", inputs=[tensor], raw_input_contents=[raw])
    response = await over_grpc(channel, made)
    assert (response.id, response.model_version, list(response.raw_output_contents)) == ("1", answer["model_version"], [raw])


REFUSED = [
    ({"name": "", "shape": [1], "datatype": "FP32"}, [1.0]),
    ({"name": "x", "shape": [1], "datatype": "FP128"}, [1.0]),
    ({"name": "x", "shape": [], "datatype": "FP32"}, [1.0]),
    ({"name": "x", "shape": [-1], "datatype": "FP32"}, [1.0]),
    ({"name": "x", "shape": [1 << 40], "datatype": "FP32"}, [1.0]),
    ({"name": "x", "shape": [1] * 33, "datatype": "FP32"}, [1.0]),
]


@pytest.mark.parametrize(("tensor", "data"), REFUSED)
async def test_a_refusal_has_the_same_text_in_all_forms(house: House, channel: aio.Channel, tensor: Any, data: list[float]) -> None:
    status, told = await as_json(house, {"inputs": [{**tensor, "data": data}]})
    text = told["error"]
    raw = struct.pack(f"<{len(data)}f", *data)
    asked = {"inputs": [{**tensor, "parameters": {"binary_data_size": len(raw)}}]}
    assert await as_binary(house, asked, raw) == (status, {"error": text}, b"")
    for contents in ({"raw_input_contents": [raw], "inputs": [tensor]}, {"inputs": [{**tensor, "contents": {"fp32_contents": data}}]}):
        with pytest.raises(grpc.RpcError) as caught:
            await over_grpc(channel, message("inference.ModelInferRequest")(model_name="data", **contents))
        code = {400: grpc.StatusCode.INVALID_ARGUMENT, 413: grpc.StatusCode.RESOURCE_EXHAUSTED}[status]
        assert (caught.value.code(), caught.value.details()) == (code, text)


async def test_octets_without_a_length_are_told_what_is_missing(house: House, channel: aio.Channel) -> None:
    answer = await house.client.post("/v2/models/data/infer", content=b"\x01\x02", headers={"content-type": "application/octet-stream"})
    assert (answer.status_code, "Inference-Header-Content-Length" in answer.json()["error"]) == (400, True)
