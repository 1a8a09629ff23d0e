from __future__ import annotations

import struct
from collections.abc import AsyncIterator
from typing import Any

import grpc
import numpy
import pytest
import pytest_asyncio

from flambeau.serving.frontends.grpc_messages import message
from tests.fixtures.archives import BROKEN, write_mar
from tests.serving.frontends.grpc_kit import HANDLER, GrpcHouse, grpc_house, registration

pytestmark = pytest.mark.asyncio(loop_scope="module")

Code = grpc.StatusCode
OURS, TORCHSERVES = "inference.GRPCInferenceService", "org.pytorch.serve.grpc.openinference.GRPCInferenceService"

CONTENTS = {
    "BOOL": ("bool_contents", [True, False]),
    "INT8": ("int_contents", [-128, 127]),
    "INT16": ("int_contents", [-(1 << 15), 1]),
    "INT32": ("int_contents", [-(1 << 31), 1]),
    "INT64": ("int64_contents", [-(1 << 63), 1]),
    "UINT8": ("uint_contents", [0, 255]),
    "UINT16": ("uint_contents", [0, 65535]),
    "UINT32": ("uint_contents", [0, (1 << 32) - 1]),
    "UINT64": ("uint64_contents", [0, (1 << 64) - 1]),
    "FP32": ("fp32_contents", [0.5, -1.5]),
    "FP64": ("fp64_contents", [0.1, -1e300]),
    "BYTES": ("bytes_contents", [b"\x00\xff", b""]),
}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def house(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[GrpcHouse]:
    root = tmp_path_factory.mktemp("oip")
    archives = [registration(write_mar(root, "versatile", HANDLER)), registration(write_mar(root, "broken", BROKEN))]
    async with grpc_house(root, archives) as made:
        yield made


def request(*tensors: Any, raw: list[bytes] | None = None, outputs: Any = (), **fields: Any) -> Any:
    made = message("inference.ModelInferRequest")(model_name="versatile", raw_input_contents=raw or [], **fields)
    for name, datatype, shape, contents in tensors:
        tensor = made.inputs.add(name=name, datatype=datatype, shape=shape)
        for kind, values in contents.items():
            getattr(tensor.contents, kind).extend(values)
    for name in outputs:
        made.outputs.add(name=name)
    return made


async def infer(house: GrpcHouse, made: Any) -> Any:
    return await house.call(f"{OURS}/ModelInfer", made)


@pytest.mark.parametrize("datatype", CONTENTS)
async def test_typed_contents_go_in_and_come_out(house: GrpcHouse, datatype: str) -> None:
    kind, values = CONTENTS[datatype]
    response = await infer(house, request(("x", datatype, [2], {kind: values})))
    [output] = response.outputs
    assert (output.name, output.datatype, output.shape) == ("x", datatype, [2])
    assert list(getattr(output.contents, kind)) == values
    assert not response.raw_output_contents


async def test_raw_contents_are_answered_raw_byte_for_byte(house: GrpcHouse) -> None:
    floats = numpy.arange(6, dtype="<f2").tobytes()
    texts = struct.pack("<I3sI", 3, b"abc", 0)
    made = request(("x", "FP16", [2, 3], {}), ("y", "BYTES", [2], {}), raw=[floats, texts], id="mine")
    response = await infer(house, made)
    assert list(response.raw_output_contents) == [floats, texts]
    assert [(output.name, output.datatype, list(output.shape)) for output in response.outputs] == [
        ("x", "FP16", [2, 3]),
        ("y", "BYTES", [2]),
    ]
    assert (response.model_name, response.model_version, response.id) == ("versatile", "1.0", "mine")


async def test_bf16_comes_as_float32(house: GrpcHouse) -> None:
    response = await infer(house, request(("x", "BF16", [1], {}), raw=[b"\x80\x3f"]))
    assert (response.outputs[0].datatype, list(response.raw_output_contents)) == ("FP32", [struct.pack("<f", 1.0)])


async def test_a_result_that_is_no_number_is_its_json_text(house: GrpcHouse) -> None:
    response = await infer(house, request(("scores", "FP32", [1], {"fp32_contents": [1]})))
    assert list(response.outputs[0].contents.bytes_contents) == [b'{"cat":0.5}']


async def test_outputs_are_called_as_the_request_asks(house: GrpcHouse) -> None:
    made = request(("x", "INT8", [1], {"int_contents": [1]}), ("y", "INT8", [1], {"int_contents": [2]}), outputs=["y"])
    assert [(each.name, list(each.contents.int_contents)) for each in (await infer(house, made)).outputs] == [("y", [2])]
    made = request(("x", "INT8", [1], {"int_contents": [1]}), outputs=["label"])
    assert [each.name for each in (await infer(house, made)).outputs] == ["label"]


REFUSED = [
    (request(), "has no"),
    (request(("", "FP32", [1], {"fp32_contents": [1]})), 'input 0 has no "name"'),
    (request(("x", "FP128", [1], {})), "datatype 'FP128' is not one of"),
    (request(("x", "FP32", [], {"fp32_contents": [1]})), '"shape" must be a list of integers, not an empty one'),
    (request(("x", "FP32", [-1], {"fp32_contents": [1]})), '"shape" must hold whole numbers from 0'),
    (request(("x", "FP32", [2], {"fp32_contents": [1]})), "its shape [2] says 2 elements, its data has 1"),
    (request(("x", "FP32", [1], {"int_contents": [1]})), "elements of FP32 belong into fp32_contents"),
    (request(("x", "INT8", [2], {"int_contents": [1, 128]})), "its data runs from 1 to 128, INT8 from -128 to 127"),
    (request(("x", "FP16", [1], {"fp32_contents": [1]})), "FP16 has no typed contents"),
    (request(("x", "FP32", [2], {}), raw=[b"1234"]), "shape [2] of FP32 takes 8 bytes, binary_data_size is 4"),
    (request(("x", "BYTES", [1], {}), raw=[b"1234"]), "its BYTES cannot be read"),
    (request(("x", "FP32", [1], {}), raw=[b"1234", b"1234"]), "the request has 1 inputs, raw_input_contents has 2 elements"),
    (request(("x", "FP32", [1], {"fp32_contents": [1]}), raw=[b"1234"]), "it has contents, and raw_input_contents"),
    (request(("x", "FP32", [1 << 40, 1 << 40], {}), raw=[b"1234"]), "has more than"),
    (request(*[("x", "INT8", [0], {})] * 1025), "1025 inputs, at most 1024"),
]


@pytest.mark.parametrize(("made", "text"), REFUSED, ids=[text for _, text in REFUSED])
async def test_what_does_not_fit_is_refused_with_where_and_why(house: GrpcHouse, made: Any, text: str) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        await infer(house, made)
    code = Code.RESOURCE_EXHAUSTED if "more than" in text or "at most" in text else Code.INVALID_ARGUMENT
    assert (caught.value.code(), text in caught.value.details()) == (code, True), caught.value.details()


async def test_errors_of_the_handler_name_the_input(house: GrpcHouse) -> None:
    with pytest.raises(grpc.RpcError, match=r"input 0: Prediction failed.*as told") as caught:
        await infer(house, request(("raise", "INT8", [1], {"int_contents": [1]})))
    assert caught.value.code() is Code.UNAVAILABLE


@pytest.mark.parametrize("service", [OURS, TORCHSERVES])
async def test_both_packages_serve_the_same(house: GrpcHouse, service: str) -> None:
    package = service.rpartition(".")[0]
    assert (await house.call(f"{service}/ServerLive")).live
    assert not (await house.call(f"{service}/ServerReady")).ready
    assert (await house.call(f"{service}/ModelReady", name="versatile")).ready
    assert not (await house.call(f"{service}/ModelReady", name="broken")).ready
    metadata = await house.call(f"{service}/ServerMetadata")
    assert (metadata.name, "binary_tensor_data" in metadata.extensions) == ("flambeau", True)
    model = await house.call(f"{service}/ModelMetadata", name="versatile", version="1.0")
    assert (model.name, list(model.versions), model.platform) == ("versatile", ["1.0"], "pytorch")
    made = message(f"{package}.ModelInferRequest").FromString(
        request(("x", "INT8", [1], {"int_contents": [1]})).SerializeToString(),
    )
    response = await house.call(f"{service}/ModelInfer", made)
    assert list(response.outputs[0].contents.int_contents) == [1]


@pytest.mark.parametrize(("method", "field"), [("ModelReady", "name"), ("ModelMetadata", "name"), ("ModelInfer", "model_name")])
async def test_an_unknown_model_is_not_found_and_no_name_is_wrong(house: GrpcHouse, method: str, field: str) -> None:
    more: dict[str, Any] = {"inputs": [{"name": "x", "datatype": "INT8", "shape": [0]}]} if method == "ModelInfer" else {}
    for name, code in (("nobody", Code.NOT_FOUND), ("", Code.INVALID_ARGUMENT)):
        more[field] = name
        with pytest.raises(grpc.RpcError) as caught:
            await house.call(f"{OURS}/{method}", **more)
        assert caught.value.code() is code
