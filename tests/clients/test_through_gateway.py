"""The clients that people use, unchanged and each in an environment of its own, against a whole platform.

``make test`` makes the environments (``make peers-clients``); without them these tests are skipped.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fixtures.archives import write_mar
from tests.system.harness import ROOT, Platform

SCRIPTS = Path(__file__).parent
DATA = """\
class Data:
    def initialize(self, context):
        pass

    def handle(self, rows, context):
        print("asked", flush=True)
        return [self.one(row, index, context) for index, row in enumerate(rows)]

    def one(self, row, index, context):
        return "explained" if context.get_request_header(index, "explain") == "True" else row["data"]
"""
CONFIG = """\
inference_address=http://0.0.0.0:8085
management_address=http://0.0.0.0:8085
metrics_address=http://0.0.0.0:8082
grpc_inference_port=7070
grpc_management_port=7071
model_store=/mnt/models/model-store
"""
"""As in KServe's documentation."""
SNAPSHOT = {
    "name": "startup.cfg",
    "modelCount": 1,
    "models": {"data": {"1.0": {"defaultVersion": True, "marName": "data.mar", "minWorkers": 1, "maxWorkers": 1, "batchSize": 1}}},
}
MANIFEST = """\
apiVersion: serving.kserve.io/v1beta1
kind: InferenceService
metadata: {{name: data, namespace: default}}
spec: {{predictor: {{model: {{modelFormat: {{name: pytorch}}, storageUri: "file://{folder}"}}}}}}
"""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as TorchServe's runtime wants it."""
    folder = tmp_path_factory.mktemp("model")
    write_mar(folder / "model-store", "data", DATA)
    config = folder / "config"
    config.mkdir()
    (config / "config.properties").write_text(f"{CONFIG}model_snapshot={json.dumps(SNAPSHOT)}\n")
    return folder


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    running = Platform(tmp_path_factory.mktemp("platform") / "home")
    running.start()
    yield running
    status = running.stop()
    assert status == 0, running.log.read_text()[-4000:]
    assert not running.processes()


@pytest.fixture(scope="module")
def pod(platform: Platform, model: Path) -> str:
    """The pod of a service named ``data``, which answers."""
    platform.kubectl("apply", "-f", "-", stdin=MANIFEST.format(folder=model))
    platform.kubectl("wait", "--for=condition=Ready", "isvc/data", "--timeout=90s")
    [running] = platform.get("pods", "-l", "serving.kserve.io/inferenceservice=data")["items"]
    return str(running["metadata"]["name"])


def is_content(platform: Platform, peer: str, script: str, *arguments: str) -> None:
    """Run a script in a peer's environment."""
    python = ROOT / ".peers" / peer / "bin" / "python"
    if not python.exists():
        pytest.skip(f"no environment with {peer}: make peers-clients")
    assert "is content" in platform.run(str(python), str(SCRIPTS / script), *arguments).stdout


def test_triton_s_client(platform: Platform, pod: str) -> None:
    gateway = f"127.0.0.1:{platform.gateway_port}"
    is_content(platform, "tritonclient", "triton_client.py", gateway, gateway, str(ROOT / "src"), "data.default.localhost")


def test_kubernetes_own_client(platform: Platform, pod: str) -> None:
    is_content(platform, "kserve", "kubernetes_client.py", str(platform.home / "kubeconfig"), pod)


def test_kserve_s_client(platform: Platform, model: Path) -> None:
    gateway = f"127.0.0.1:{platform.gateway_port}"
    is_content(platform, "kserve", "kserve_gateway_client.py", str(platform.home / "kubeconfig"), gateway, str(model))
