from __future__ import annotations

import asyncio
import gzip
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest
import pytest_asyncio
from google.protobuf import descriptor_pb2
from grpc import aio

from flambeau.foundation.errors import Unavailable
from flambeau.serving.frontends.grpc_messages import message
from flambeau.serving.frontends.grpc_server import Bounds, GrpcServer
from flambeau.serving.frontends.tokens import KeySettings, Tokens
from tests.fixtures.archives import write_mar
from tests.fixtures.waiting import until
from tests.serving.frontends.grpc_kit import HANDLER, INFERENCE, REQUEST_BYTES_MAX, GrpcHouse, grpc_house, registration

pytestmark = pytest.mark.asyncio(loop_scope="module")

Code = grpc.StatusCode
KEY = "the-inference-key"
MANAGEMENT = "org.pytorch.serve.grpc.management.ManagementAPIsService"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def house(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[GrpcHouse]:
    root = tmp_path_factory.mktemp("server")
    tokens = Tokens(KeySettings(given={"inference": KEY, "management": "other", "API": "third"}))
    async with grpc_house(root, [registration(write_mar(root, "versatile", HANDLER))], tokens=tokens) as made:
        yield made


KEYED = [
    f"{INFERENCE}.InferenceAPIsService/Predictions",
    f"{INFERENCE}.InferenceAPIsService/StreamPredictions",
    "inference.GRPCInferenceService/ModelReady",
    "inference.GRPCInferenceService/ModelMetadata",
    "inference.GRPCInferenceService/ModelInfer",
    "org.pytorch.serve.grpc.openinference.GRPCInferenceService/ModelInfer",
]
"""Called without a name they are INVALID_ARGUMENT once the key is right."""


@pytest.mark.parametrize("method", KEYED)
async def test_a_call_needs_the_planes_key(house: GrpcHouse, method: str) -> None:
    for value in (None, "Bearer wrong", "Bearer other", KEY):
        with pytest.raises(grpc.RpcError, match="Token Authorization failed") as caught:
            await house.call(method, metadata=(("authorization", value),) if value else ())
        assert caught.value.code() is Code.PERMISSION_DENIED
    with pytest.raises(grpc.RpcError) as caught:
        await house.call(method, metadata=(("authorization", f"Bearer {KEY}"),))
    assert caught.value.code() is Code.INVALID_ARGUMENT


@pytest.mark.parametrize("method", ["DescribeModel", "ListModels", "RegisterModel", "ScaleWorker", "SetDefault", "UnregisterModel"])
async def test_management_needs_its_own_key(house: GrpcHouse, method: str) -> None:
    for key in ("wrong", KEY):
        with pytest.raises(grpc.RpcError, match="Token Authorization failed"):
            await house.call(f"{MANAGEMENT}/{method}", metadata=(("authorization", f"Bearer {key}"),))


@pytest.mark.parametrize("method", [f"{INFERENCE}.InferenceAPIsService/Ping", "inference.GRPCInferenceService/ServerMetadata"])
async def test_what_tells_of_the_server_needs_it_too(house: GrpcHouse, method: str) -> None:
    with pytest.raises(grpc.RpcError, match="Token Authorization failed"):
        await house.call(method)
    await house.call(method, metadata=(("authorization", f"Bearer {KEY}"),))


async def test_probers_need_no_key(house: GrpcHouse) -> None:
    for method in ("ServerLive", "ServerReady"):
        await house.call(f"inference.GRPCInferenceService/{method}")
    assert (await house.call("grpc.health.v1.Health/Check")).status == 1


async def test_health_tells_of_the_server_and_its_services(house: GrpcHouse) -> None:
    for name in ("", "inference.GRPCInferenceService", f"{INFERENCE}.InferenceAPIsService"):
        assert (await house.call("grpc.health.v1.Health/Check", service=name)).status == 1
    with pytest.raises(grpc.RpcError) as caught:
        await house.call("grpc.health.v1.Health/Check", service="nobody")
    assert caught.value.code() is Code.NOT_FOUND


async def test_whoever_watches_hears_of_changes(house: GrpcHouse) -> None:
    health = message("grpc.health.v1.HealthCheckResponse")
    stub = house.channel.unary_stream(
        "/grpc.health.v1.Health/Watch",
        request_serializer=lambda sent: sent.SerializeToString(),
        response_deserializer=health.FromString,
    )
    watch = stub(message("grpc.health.v1.HealthCheckRequest")(), timeout=30)
    assert (await watch.read()).status == 1
    house.dataplane.stop_being_ready()
    try:
        assert (await watch.read()).status == 2
    finally:
        house.dataplane.start_being_ready()
        watch.cancel()
    unknown = stub(message("grpc.health.v1.HealthCheckRequest")(service="nobody"), timeout=30)
    assert (await unknown.read()).status == 3
    unknown.cancel()


@pytest.mark.parametrize("package", ["grpc.reflection.v1", "grpc.reflection.v1alpha"])
async def test_reflection_tells_services_and_their_protos(house: GrpcHouse, package: str) -> None:
    asked = [
        {"list_services": "*"},
        {"file_containing_symbol": f"{INFERENCE}.InferenceAPIsService"},
        {"file_by_filename": "open_inference.proto"},
        {"file_by_filename": "none.proto"},
        {"all_extension_numbers_of_type": "x"},
    ]

    async def requests() -> AsyncIterator[Any]:
        for each in asked:
            yield message(f"{package}.ServerReflectionRequest")(**each)

    services, symbol, file, none, extension = await house.call(f"{package}.ServerReflection/ServerReflectionInfo", requests())
    names = {service.name for service in services.list_services_response.service}
    assert {
        "inference.GRPCInferenceService",
        f"{INFERENCE}.InferenceAPIsService",
        "grpc.health.v1.Health",
        f"{package}.ServerReflection",
    } <= names
    found = [descriptor_pb2.FileDescriptorProto.FromString(each).name for each in symbol.file_descriptor_response.file_descriptor_proto]
    assert found[0] == "torchserve_inference.proto"
    assert set(found[1:]) == {"google/protobuf/empty.proto", "google/rpc/status.proto", "google/protobuf/any.proto"}
    assert len(file.file_descriptor_response.file_descriptor_proto) == 1
    assert (none.error_response.error_code, extension.error_response.error_code) == (5, 12)


async def test_an_unknown_method_is_unimplemented(house: GrpcHouse) -> None:
    for path in ("/inference.GRPCInferenceService/Nothing", "/nobody/Nothing"):
        with pytest.raises(grpc.RpcError) as caught:
            await house.channel.unary_unary(path)(b"")
        assert caught.value.code() is Code.UNIMPLEMENTED


async def test_bytes_that_are_no_message_are_refused_and_the_server_lives(house: GrpcHouse) -> None:
    with pytest.raises(grpc.RpcError):
        await house.channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")(b"\xff\xff\xff")
    assert (await house.call("inference.GRPCInferenceService/ServerLive")).live


async def test_a_small_message_that_unpacks_to_a_large_one_is_refused(house: GrpcHouse) -> None:
    request = message("inference.ModelInferRequest")(model_name="versatile", raw_input_contents=[bytes(50 * REQUEST_BYTES_MAX)])
    assert len(gzip.compress(request.SerializeToString())) < REQUEST_BYTES_MAX
    async with aio.insecure_channel(f"127.0.0.1:{house.port}", compression=grpc.Compression.Gzip) as channel:
        infer = channel.unary_unary("/inference.GRPCInferenceService/ModelInfer", request_serializer=lambda sent: sent.SerializeToString())
        with pytest.raises(grpc.RpcError) as caught:
            await infer(request, metadata=(("authorization", f"Bearer {KEY}"),))
    assert caught.value.code() is Code.RESOURCE_EXHAUSTED


async def test_a_port_that_is_taken_is_told(house: GrpcHouse) -> None:
    server = GrpcServer([], Bounds(1, 1))
    with pytest.raises(Unavailable, match=f"cannot listen on 127.0.0.1:{house.port} for gRPC"):
        await server.start("127.0.0.1", house.port)
    await server.stop(0)


async def test_what_was_accepted_is_answered_while_the_server_stops(tmp_path: Path) -> None:
    async with grpc_house(tmp_path, [registration(write_mar(tmp_path, "versatile", HANDLER))]) as made:
        order = {"touch": str(tmp_path / "began"), "wait_for": str(tmp_path / "go"), "answer": "done"}
        running = asyncio.ensure_future(made.predict(order=order))
        await until((tmp_path / "began").exists)
        stopping = asyncio.ensure_future(made.server.stop(30))
        (tmp_path / "go").touch()
        assert (await running).prediction == b"done"
        await stopping
        with pytest.raises(grpc.RpcError) as caught:
            await made.call("inference.GRPCInferenceService/ServerLive", timeout=5)
        assert caught.value.code() is Code.UNAVAILABLE
