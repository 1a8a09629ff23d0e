"""gRPC of a whole server: its ports, its keys, TLS, its end."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc import aio

from flambeau.programs.grpc_doors import doors_of
from flambeau.programs.settings.grpc import GrpcDoor, GrpcSettings
from flambeau.serving.frontends.grpc_messages import message
from flambeau.serving.frontends.routes import Plane
from tests.fixtures.archives import OBEDIENT, write_mar
from tests.fixtures.waiting import until, until_told
from tests.programs.kit import Served, serving, start
from tests.programs.test_doors import write_certificate

HTTP = "inference_address=http://127.0.0.1:0\nmanagement_address=http://127.0.0.1:0\nmetrics_address=http://127.0.0.1:0\n"
CONFIG = HTTP + "grpc_inference_port=0\ngrpc_management_port=0\ndefault_workers_per_model=1\n"
POD = f"127.77.{os.getpid() >> 8 & 255}.{os.getpid() & 255}"
"""A loopback address that no other run of these tests has."""
FIELDS = OBEDIENT.replace('self.one(row["body"])', 'self.one(json.loads(row["body"]))').replace("import os", "import json, os")


def opened(served: Served) -> dict[str, list[str]]:
    """Return what each gRPC door serves -> its addresses."""
    doors: dict[str, list[str]] = {}
    for address, serves in re.findall(r"gRPC open address=(\S+) serves=(\S+)", served.err.read_text()):
        doors.setdefault(serves, []).append(address)
    return doors


@asynccontextmanager
async def grpc_serving(root: Path, *arguments: str, config: str = CONFIG, **more: Any) -> AsyncIterator[Served]:
    write_mar(root / "store", "obedient", FIELDS)
    models = ["--model-store", str(root / "store"), "--models", "obedient.mar", *arguments]
    async with serving(root, models, config=config, **more) as served:
        yield served


async def call(channel: aio.Channel, path: str, request: Any, answer: str, metadata: Any = ()) -> Any:
    method = channel.unary_unary(
        path, request_serializer=lambda sent: sent.SerializeToString(), response_deserializer=message(answer).FromString
    )
    return await method(request, timeout=30, metadata=metadata)


async def predict(channel: aio.Channel, order: Any) -> Any:
    package = "org.pytorch.serve.grpc.inference"
    request = message(f"{package}.PredictionsRequest")(model_name="obedient", input={"body": json.dumps(order).encode()})
    response = await call(channel, f"/{package}.InferenceAPIsService/Predictions", request, f"{package}.PredictionResponse")
    return json.loads(response.prediction)


async def ready(channel: aio.Channel) -> None:
    async def asks() -> bool:
        health = await call(
            channel, "/grpc.health.v1.Health/Check", message("grpc.health.v1.HealthCheckRequest")(), "grpc.health.v1.HealthCheckResponse"
        )
        return bool(health.status == 1)

    await until_told(asks)


async def listing(channel: aio.Channel, metadata: Any = ()) -> Any:
    package = "org.pytorch.serve.grpc.management"
    request = message(f"{package}.ListModelsRequest")()
    path = f"/{package}.ManagementAPIsService/ListModels"
    return json.loads((await call(channel, path, request, f"{package}.ManagementResponse", metadata)).msg)


async def test_inference_and_management_have_a_port_each_and_a_stop_answers_what_was_accepted(tmp_path: Path) -> None:
    async with grpc_serving(tmp_path, "--disable-token-auth") as served:
        doors = opened(served)
        assert set(doors) == {"inference", "management"}
        async with aio.insecure_channel(doors["inference"][0]) as inference, aio.insecure_channel(doors["management"][0]) as management:
            await ready(inference)
            assert [model["modelName"] for model in (await listing(management))["models"]] == ["obedient"]
            with pytest.raises(grpc.RpcError) as caught:
                await listing(inference)
            assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED
            running = asyncio.ensure_future(predict(inference, {"touch": str(tmp_path / "began"), "wait_for": str(tmp_path / "go")}))
            await until((tmp_path / "began").exists)
            served.process.send_signal(signal.SIGTERM)
            await until(lambda: "stopping" in served.err.read_text())
            (tmp_path / "go").touch()
            assert "pid" in await running
        assert await served.ended() == 0


async def test_keys_are_those_of_the_http_doors(tmp_path: Path) -> None:
    keys = {"FLAMBEAU_INFERENCE_KEY": "i", "FLAMBEAU_MANAGEMENT_KEY": "m"}
    async with grpc_serving(tmp_path, environment=keys) as served, aio.insecure_channel(opened(served)["management"][0]) as channel:
        for value in ("Bearer i", "Bearer x"):
            with pytest.raises(grpc.RpcError, match="Token Authorization failed"):
                await listing(channel, (("authorization", value),))
        assert "models" in await listing(channel, (("authorization", "Bearer m"),))


async def test_equal_addresses_are_one_door_and_tls_is_the_http_doors_certificate(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    write_certificate(tmp_path)
    config = HTTP + f"grpc_inference_port={port}\ngrpc_management_port={port}\nenable_grpc_ssl=true\n"
    config += "certificate_file=cert.pem\nprivate_key_file=pkcs8.key\ngrpc_inference_max_connection_age_ms=3600000\n"
    async with grpc_serving(tmp_path, "--disable-token-auth", config=config) as served:
        assert opened(served) == {"inference,management": [f"127.0.0.1:{port}"]}
        credentials = grpc.ssl_channel_credentials((tmp_path / "cert.pem").read_bytes())
        async with aio.secure_channel(f"127.0.0.1:{port}", credentials) as channel:
            await ready(channel)
            assert "models" in await listing(channel)


async def test_a_chosen_port_that_is_taken_stops_the_start(tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        served = start(tmp_path, ["--model-store", str(tmp_path / "store")], config=HTTP + f"grpc_inference_port={port}\n")
        assert await served.ended() == 1
    assert f"cannot listen on 127.0.0.1:{port} for gRPC: it is in use" in served.err.read_text()


async def test_a_default_port_that_is_taken_is_left_to_its_owner(tmp_path: Path) -> None:
    pod = {"FLAMBEAU_POD_IP": POD, "PORT": "8080"}
    with socket.create_server((POD, 7070)):
        async with grpc_serving(tmp_path, "--disable-token-auth", config=HTTP, environment=pod) as served:
            await until(lambda: "gRPC for inference is off" in served.err.read_text())
            assert opened(served) == {"management": [f"{POD}:7071"]}


async def test_a_pod_has_kserves_grpc_port_too(tmp_path: Path) -> None:
    pod = {"FLAMBEAU_POD_IP": POD, "PORT": "8080"}
    async with grpc_serving(tmp_path, "--disable-token-auth", config=HTTP, environment=pod) as served:
        assert opened(served) == {"inference": [f"{POD}:7070", f"{POD}:8081"], "management": [f"{POD}:7071"]}
        async with aio.insecure_channel(f"{POD}:8081") as channel:
            await ready(channel)


async def test_without_grpc_its_library_is_not_even_loaded(tmp_path: Path) -> None:
    config = HTTP + "grpc_inference_port=\ngrpc_management_port=\n"
    async with grpc_serving(tmp_path, config=config) as served:
        assert not opened(served)
        assert "cygrpc" not in Path(f"/proc/{served.process.pid}/maps").read_text()


def test_doors_that_differ_in_anything_are_two() -> None:
    one, other = GrpcDoor("127.0.0.1", 7070), GrpcDoor("127.0.0.1", 7071)
    both = frozenset({Plane.INFERENCE, Plane.MANAGEMENT})
    assert doors_of(GrpcSettings(one, one)) == [(one, both)]
    assert doors_of(GrpcSettings(one, other)) == [(one, frozenset({Plane.INFERENCE})), (other, frozenset({Plane.MANAGEMENT}))]
    assert doors_of(GrpcSettings(None, other)) == [(other, frozenset({Plane.MANAGEMENT}))]
    assert doors_of(GrpcSettings()) == []
