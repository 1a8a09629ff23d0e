"""The two that take a MAR and a config.properties: the same files for both. KServe's image is the second with a proxy before it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

from benchmarks.archives import ROOT
from benchmarks.load import Request
from benchmarks.sides.side import PEERS, Deployment, Running, free_ports, run

TORCHSERVE = PEERS / "torchserve" / "bin"
SERVERS = PEERS / "servers" / "bin"


class Flambeau:
    """This project's model server, as shipped."""

    name = "flambeau"
    batches = True

    def missing(self) -> str | None:
        return None

    def start(self, deployment: Deployment, folder: Path) -> Running:
        ports = _configure(deployment, folder)
        command = [sys.executable, "-m", "flambeau", "serve", "--ts-config", "config.properties", "--disable-token-auth"]
        running = _running(self.name, deployment, ports.inference)
        running.grpc_port, running.metrics_url = ports.grpc, f"http://127.0.0.1:{ports.metrics}/metrics"
        running.processes.append(run(command, folder))
        return running


class TorchServe:
    """TorchServe 0.12.0, as shipped."""

    name = "TorchServe"
    batches = True

    def missing(self) -> str | None:
        return None if (TORCHSERVE / "torchserve").exists() else "make peers-torchserve"

    def start(self, deployment: Deployment, folder: Path) -> Running:
        running = _running(self.name, deployment, _configure(deployment, folder).inference)
        running.processes.append(_torchserve(folder))
        return running


class KServeImage:
    """What KServe's TorchServe image runs: the SDK's server, which passes V1 requests on to TorchServe."""

    name = "KServe's image"
    batches = False  # its envelope takes the first request of a batch for the whole

    def missing(self) -> str | None:
        return TorchServe().missing() or (None if (SERVERS / "python").exists() else "make bench-peers")

    def start(self, deployment: Deployment, folder: Path) -> Running:
        behind = _configure(deployment, folder).inference
        port, grpc = free_ports(2)
        name = deployment.workload.name
        proxy: list[str | Path] = [
            SERVERS / "python",
            ROOT / "benchmarks" / "peers" / "kserve_proxy.py",
            name,
            str(behind),
            str(port),
            str(grpc),
        ]
        url = f"http://127.0.0.1:{port}/v1/models/{name}:predict"
        running = Running(self.name, Request(url, deployment.workload.v1, "application/json"))
        running.processes += [run(proxy, folder), _torchserve(folder, {"TS_SERVICE_ENVELOPE": "kserve"})]
        return running


def _torchserve(folder: Path, more: dict[str, str] | None = None) -> subprocess.Popen[bytes]:
    command: list[str | Path] = [
        TORCHSERVE / "torchserve",
        "--start",
        "--foreground",
        "--ncs",
        "--ts-config",
        "config.properties",
        "--disable-token-auth",
    ]
    logs = {"LOG_LOCATION": str(folder / "logs"), "METRICS_LOCATION": str(folder / "logs")}
    return run(command, folder, {"PATH": f"{TORCHSERVE}:{os.environ['PATH']}", **logs, **(more or {})})


def _running(name: str, deployment: Deployment, port: int) -> Running:
    base, model = f"http://127.0.0.1:{port}", deployment.workload.name
    raw = Request(f"{base}/predictions/{model}", deployment.workload.body)
    return Running(name, raw, Request(f"{base}/v1/models/{model}:predict", deployment.workload.v1, "application/json"))


class _Ports(NamedTuple):
    inference: int
    grpc: int
    metrics: int


def _configure(deployment: Deployment, folder: Path) -> _Ports:
    """Write config.properties and the model store; return the ports."""
    inference, management, metrics, grpc, grpc_management = free_ports(5)
    store = folder / "store"
    store.mkdir()
    name = deployment.workload.name
    archive = deployment.workload.archive(store)
    settings = {
        "defaultVersion": True,
        "marName": archive.name,
        "minWorkers": deployment.workers,
        "maxWorkers": deployment.workers,
        "batchSize": deployment.batch,
        "maxBatchDelay": deployment.delay_ms,
        "responseTimeout": 120,
    }
    (folder / "config.properties").write_text(
        f"inference_address=http://127.0.0.1:{inference}\n"
        f"management_address=http://127.0.0.1:{management}\n"
        f"metrics_address=http://127.0.0.1:{metrics}\n"
        f"grpc_inference_port={grpc}\n"
        f"grpc_management_port={grpc_management}\n"
        f"job_queue_size={deployment.queue}\n"
        "enable_envvars_config=true\n"
        "model_store=store\n"
        f"load_models={archive.name}\n"
        f"models={json.dumps({name: {'1.0': settings}})}\n"
    )
    return _Ports(inference, grpc, metrics)
