"""SageMaker's contract: ``/ping`` and ``/invocations`` on one port, from a config whose values the environment fills in."""

from __future__ import annotations

import signal
from pathlib import Path

import httpx2

from tests.fixtures.archives import ECHO, write_mar
from tests.fixtures.waiting import until, until_told
from tests.programs.kit import serving

CONFIG = """\
vmargs=-XX:-UseContainerSupport
model_store=$$SAGEMAKER_MODEL_STORE$$
load_models=model.mar
inference_address=http://127.0.0.1:$$SAGEMAKER_BIND_TO_PORT$$
management_address=http://127.0.0.1:$$SAGEMAKER_BIND_TO_PORT$$
metrics_address=http://127.0.0.1:$$SAGEMAKER_BIND_TO_PORT$$
grpc_inference_port=
grpc_management_port=
default_response_timeout=$$SAGEMAKER_RESPONSE_TIMEOUT$$
default_workers_per_model=$$SAGEMAKER_NUM_MODEL_WORKERS$$
default_service_handler=$$SAGEMAKER_HANDLER$$
max_request_size=$$SAGEMAKER_MAX_REQUEST_SIZE$$
async_logging=true
"""
"""The keys of the template that TorchServe ships for SageMaker; the port is chosen by the kernel instead of 8080."""


async def test_ping_and_invocations(tmp_path: Path) -> None:
    store = tmp_path / "store"
    write_mar(store, "model", ECHO)
    environment = {
        "SAGEMAKER_MODEL_STORE": str(store),
        "SAGEMAKER_BIND_TO_PORT": "0",
        "SAGEMAKER_RESPONSE_TIMEOUT": "60",
        "SAGEMAKER_NUM_MODEL_WORKERS": "1",
        "SAGEMAKER_HANDLER": "model_handler.py",
        "SAGEMAKER_MAX_REQUEST_SIZE": "1000",
    }
    async with (
        serving(tmp_path, ["--disable-token-auth"], config=CONFIG, environment=environment) as served,
        httpx2.AsyncClient(base_url=served.url, timeout=60) as client,
    ):

        async def healthy() -> bool:
            return (await client.get("/ping")).status_code == 200

        await until_told(healthy)
        assert (await client.get("/ping")).json() == {"status": "Healthy"}
        answer = await client.post("/invocations", json={"x": [1, 2]}, headers={"Accept": "application/json"})
        assert (answer.status_code, answer.json()) == (200, {"x": [1, 2]})
        answer = await client.post("/invocations", content=b"1,2\n", headers={"Content-Type": "text/csv"})
        assert (answer.status_code, answer.text) == (200, "1,2\n")
        asked = {"ask": "headers"}
        seen = (await client.post("/invocations", json=asked, headers={"X-Amzn-SageMaker-Custom-Attributes": "trace=1"})).json()
        assert "trace=1" in seen.values()
        # Several models behind one endpoint.
        answer = await client.post("/models/model/invoke", content=b"a", headers={"Content-Type": "text/plain"})
        assert (answer.status_code, answer.text) == (200, "a")
        assert [each["modelName"] for each in (await client.get("/models")).json()["models"]] == ["model"]
        assert (await client.post("/invocations", content=b"x" * 1001)).status_code == 413
        served.process.send_signal(signal.SIGTERM)
        await until(lambda: served.process.poll() is not None)
        assert served.process.returncode == 0
