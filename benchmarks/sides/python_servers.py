"""The servers that take Python code: each runs its script of ``peers/`` in an environment of its own."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

from benchmarks.archives import ROOT
from benchmarks.load import Request
from benchmarks.sides.side import PEERS, Deployment, Running, free_ports, run
from benchmarks.work import tensor

SCRIPTS = ROOT / "benchmarks" / "peers"


@dataclass(frozen=True)
class PythonServer:
    """One of them."""

    name: str
    script: str
    path: str
    """Of a prediction; ``{model}`` stands for the workload's name."""
    form: str
    """``raw``: the body as it is; ``v1``: KServe's; ``v2``: one BYTES tensor of base64; ``tensor``: one of FP32, by gRPC too."""
    environment: str = "servers"
    batches: bool = True

    def missing(self) -> str | None:
        """Return what must be installed first; None if nothing."""
        return None if (PEERS / self.environment / "bin" / "python").exists() else "make bench-peers"

    def start(self, deployment: Deployment, folder: Path) -> Running:
        """Start it in a folder of its own; it need not be ready."""
        port, other = free_ports(2)
        work = deployment.workload
        asked = {"port": port, "other_port": other, "name": work.name, "weights": str(work.weights or "")}
        asked |= {"batch": deployment.batch, "delay_ms": deployment.delay_ms}
        python = PEERS / self.environment / "bin" / "python"
        path = f"{python.parent}:{os.environ['PATH']}"
        url = f"http://127.0.0.1:{port}{self.path.format(model=work.name)}"
        running = Running(self.name, _request(self.form, url, work.body, work.v1), grpc_port=other if self.form == "tensor" else 0)
        running.processes.append(run([python, SCRIPTS / self.script], folder, {"BENCHMARK": json.dumps(asked), "PATH": path}))
        return running


KSERVE_SDK = PythonServer("KServe SDK", "kserve_model.py", "/v1/models/{model}:predict", "v1", batches=False)
LITSERVE = PythonServer("LitServe", "litserve_server.py", "/predict", "v1")
MOSEC = PythonServer("Mosec", "mosec_server.py", "/inference", "raw")
MLSERVER = PythonServer("MLServer", "mlserver_server.py", "/v2/models/{model}/infer", "v2", environment="mlserver")

# The same two for a tensor that is no file's content.
KSERVE_TENSOR = PythonServer("KServe SDK", "kserve_tensor.py", "/v2/models/{model}/infer", "tensor", batches=False)
MLSERVER_TENSOR = PythonServer("MLServer", "mlserver_tensor.py", "/v2/models/{model}/infer", "tensor", environment="mlserver")


def _request(form: str, url: str, body: bytes, v1: bytes) -> Request:
    if form == "raw":
        return Request(url, body)
    if form == "tensor":
        return Request(url, tensor.as_json(body), "application/json")
    if form == "v1":
        return Request(url, v1, "application/json")
    text = json.loads(v1)["instances"][0]["data"]
    picture = {"name": "input", "shape": [1, 1], "datatype": "BYTES", "parameters": {"content_type": "base64"}, "data": [text]}
    return Request(url, json.dumps({"inputs": [picture]}).encode(), "application/json")
