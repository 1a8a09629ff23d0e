"""The model repository extension of a whole server: what Triton's and KServe's clients list, load and unload, and where they may."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

import grpc
import httpx2
import pytest
from grpc import aio

from flambeau.serving.frontends.grpc_messages import message
from tests.fixtures.archives import ECHO, write_mar
from tests.programs.kit import CONFIG, serving

LOADED = {"name": "echo", "version": "1.0", "state": "READY", "reason": ""}


async def call(channel: aio.Channel, verb: str, metadata: Any = (), **fields: Any) -> Any:
    method = channel.unary_unary(
        f"/inference.GRPCInferenceService/Repository{verb}",
        request_serializer=lambda sent: sent.SerializeToString(),
        response_deserializer=message(f"inference.Repository{verb}Response").FromString,
    )
    return await method(message(f"inference.Repository{verb}Request")(**fields), timeout=60, metadata=metadata)


def with_grpc(root: Path, *, managed: bool) -> tuple[str, str]:
    """Return a configuration with a gRPC port, and its address."""
    write_mar(root / "store", "echo", ECHO)
    (root / "store" / "echo.mar").rename(root / "store" / "other.mar")
    write_mar(root / "store", "echo", ECHO)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    config = CONFIG.replace("grpc_inference_port=\n", f"grpc_inference_port={port}\n")
    return config.replace("grpc_management_port=\n", f"grpc_management_port={port if managed else ''}\n"), f"127.0.0.1:{port}"


async def test_models_are_listed_loaded_and_unloaded_by_their_names(tmp_path: Path) -> None:
    config, address = with_grpc(tmp_path, managed=True)
    arguments = ["--model-store", str(tmp_path / "store"), "--enable-model-api"]
    async with (
        serving(tmp_path, arguments, config=config) as served,
        httpx2.AsyncClient(base_url=served.url, timeout=60) as client,
        aio.insecure_channel(address) as channel,
    ):
        assert (await client.post("/v2/repository/index")).json() == []
        loaded = await client.post("/v2/repository/models/echo/load")
        assert (loaded.status_code, loaded.json()) == (200, {"name": "echo", "load": True})
        assert (await client.post("/v2/repository/models/echo/load")).status_code == 200
        assert (await client.post("/v2/repository/index", json={"ready": True})).json() == [LOADED]
        assert (await client.post("/v2/repository/models/nobody/load")).status_code == 404

        assert (await call(channel, "ModelLoad", model_name="other")).isLoaded  # as Triton's clients ask
        index = {each.name: (each.version, each.state) for each in (await call(channel, "Index")).models}
        assert index == {"echo": ("1.0", "READY"), "other": ("1.0", "READY")}
        assert (await call(channel, "ModelUnload", repository_name="other")).isUnloaded  # as KServe's do
        gone = await client.post("/v2/repository/models/echo/unload")
        assert gone.json() == {"name": "echo", "unload": True}
        assert (await client.post("/v2/repository/models/echo/unload")).status_code == 404
        assert (await client.post("/v2/repository/index")).json() == []
        assert (await client.get("/v2/repository/index")).status_code == 405


async def test_only_the_managements_key_at_the_managements_door_changes_models(tmp_path: Path) -> None:
    config, address = with_grpc(tmp_path, managed=False)
    config = config.replace("disable_token_authorization=true\n", "")
    arguments = ["--model-store", str(tmp_path / "store"), "--models", "echo.mar", "--enable-model-api"]
    async with (
        serving(tmp_path, arguments, config=config) as served,
        httpx2.AsyncClient(base_url=served.url, timeout=60) as client,
        aio.insecure_channel(address) as channel,
    ):
        keys = json.loads((tmp_path / "key_file.json").read_text())
        inference, management = ({"authorization": f"Bearer {keys[name]['key']}"} for name in ("inference", "management"))
        assert (await client.post("/v2/repository/index")).status_code in (400, 401, 403)
        assert (await client.post("/v2/repository/index", headers=inference)).status_code == 200
        assert (await client.post("/v2/repository/models/echo/unload", headers=inference)).status_code in (400, 401, 403)
        for metadata in (inference, management):
            with pytest.raises(aio.AioRpcError) as refused:
                await call(channel, "ModelUnload", tuple(metadata.items()), model_name="echo")
            assert refused.value.code() in (grpc.StatusCode.PERMISSION_DENIED, grpc.StatusCode.UNAUTHENTICATED)
        assert (await client.post("/v2/repository/models/echo/unload", headers=management)).status_code == 200


async def test_nothing_is_loaded_while_the_model_api_is_off(tmp_path: Path) -> None:
    write_mar(tmp_path / "store", "echo", ECHO)
    arguments = ["--model-store", str(tmp_path / "store")]
    async with serving(tmp_path, arguments) as served, httpx2.AsyncClient(base_url=served.url, timeout=60) as client:
        refused = await client.post("/v2/repository/models/echo/load")
        assert refused.status_code == 403
        assert "--enable-model-api" in refused.text
