"""How long from apply to Ready and from zero to the first answer, what does a prediction cost, and what does each process weigh?

Expected: Ready well under 5 s, because a worker is forked from a server that has torch imported already and nothing sleeps; a cached model
saves only the download, tens of milliseconds on loopback. A service that sleeps answers its first request as soon as its model server,
started alone, would, and a tenth of a second more for the pod. Paths are measured in turn, request by request, so that a noisy machine
hits all alike.

Run: ``python -m benchmarks platform``.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from benchmarks.archives import EXAMPLE, Workload, workload
from benchmarks.client import Client, message_of
from benchmarks.load import Request
from benchmarks.question import Effort, Goal, Result, table
from benchmarks.sides.model_servers import Flambeau
from benchmarks.sides.side import Deployment, serving
from tests.fixtures.s3 import S3Server, start_s3, stop_s3
from tests.system.deploy import BUCKET, manifest, secret
from tests.system.harness import Platform, host_of, until

NAME = "mnist-torchserve"
NAMESPACE = "torchserve"
WARM_UP_REQUESTS = 100
WAKE_MS_MAX = 150


@dataclass
class Seen:
    """Seconds of each round."""

    fresh: list[float] = field(default_factory=list)
    """From apply to Ready, with the model still in S3."""
    cached: list[float] = field(default_factory=list)
    woken: list[float] = field(default_factory=list)
    """From the first request to its answer, with no pod."""
    alone: list[float] = field(default_factory=list)
    """From the start of the model server to its first answer, without a platform."""


def ask(effort: Effort) -> Result:
    """Deploy the example again and again; then measure what runs."""
    with tempfile.TemporaryDirectory(prefix="fb-") as name:
        folder = Path(name)
        work = workload("mnist", folder)
        store = start_s3(folder / "s3")
        running = Platform(folder / "home")
        try:
            running.start()
            _prepare(running, store, work, folder)
            seen = Seen()
            for number in range(effort.rounds):
                store.upload_dir(folder / "model", BUCKET, f"round-{number}")
                _round(running, work, f"round-{number}", seen, effort)
            times = _latencies(running, work.v1, effort.seconds * 2)
            weights = _memory(running)
        finally:
            running.stop()
            stop_s3(store)
    seconds = {
        "apply to Ready, model from S3 (4.5 MB)": seen.fresh,
        "apply to Ready, model cached": seen.cached,
        "first answer of a service that slept": seen.woken,
        "first answer of its model server, started alone": seen.alone,
    }
    tables = table(["seconds", "median", "least", "most"], [_row(what, values) for what, values in seconds.items() if values])
    tables += table(["predict at c=1, ms", "p50", "p99", "least"], [_spread(path, each) for path, each in times.items()])
    tables += table(["process", "PSS, MB"], [[what, f"{size:.0f}"] for what, size in weights])
    return Result(tables, (_goal(seen),))


def _prepare(running: Platform, store: S3Server, work: Workload, folder: Path) -> None:
    """Make the model's folder, the bucket, and what the service needs in its namespace."""
    (folder / "model" / "config").mkdir(parents=True)
    (folder / "model" / "model-store").mkdir()
    (folder / "model" / "config" / "config.properties").write_bytes((EXAMPLE / "config" / "config.properties").read_bytes())
    work.archive(folder / "model" / "model-store")
    store.create_bucket(BUCKET)
    running.kubectl("create", "ns", NAMESPACE)
    running.kubectl("apply", "-f", "-", stdin=secret(store))
    running.kubectl("apply", "-f", str(EXAMPLE / "kubernetes" / "service-account.yaml"))


def _round(running: Platform, work: Workload, prefix: str, seen: Seen, effort: Effort) -> None:
    """Deploy thrice and start the server once by itself; the service stays, awake, until the next round."""
    _remove(running)
    with serving(Flambeau(), Deployment(work)) as alone:
        seen.alone.append(alone.seconds_to_answer)
    for each in (seen.fresh,) if effort.brief else (seen.fresh, seen.cached):
        each.append(_deploy(running, prefix))
        _remove(running)
    _deploy(running, prefix, asleep=True)
    assert not running.pods(NAME)
    seen.woken.append(_first_answer(running, work.v1))


def _deploy(running: Platform, prefix: str, *, asleep: bool = False) -> float:
    """Apply the service; return the seconds until kubectl sees it Ready."""
    service = yaml.safe_load(manifest("inference-service").replace("kserve/torchserve/mnist", prefix))
    if asleep:
        service["metadata"]["annotations"] = {"autoscaling.knative.dev/initial-scale": "0"}
        service["spec"]["predictor"]["minReplicas"] = 0
    began = time.monotonic()
    running.kubectl("apply", "-f", "-", stdin=yaml.safe_dump(service))
    running.kubectl("wait", "--for=condition=Ready", f"isvc/{NAME}", "-n", NAMESPACE, "--timeout=120s")
    return time.monotonic() - began


def _first_answer(running: Platform, body: bytes) -> float:
    began = time.monotonic()
    answer = running.post("/v1/models/mnist:predict", body, host=host_of(NAME))
    assert answer.status_code == 200, answer.text
    return time.monotonic() - began


def _remove(running: Platform) -> None:
    running.kubectl("delete", "isvc", NAME, "-n", NAMESPACE, "--timeout=60s", "--ignore-not-found")
    until(lambda: not running.pods(NAME), seconds=60, what="end of the pods")


def _latencies(running: Platform, body: bytes, seconds: int) -> dict[str, list[float]]:
    """Send requests in turn over two kept connections; return the ms of each path."""
    address = running.pods(NAME)[0]["status"]["podIP"]
    hosts = {"through the gateway": ("127.0.0.1", running.gateway_port), "directly to the pod": (address, 8080)}
    path, host = "/v1/models/mnist:predict", host_of(NAME)
    message = message_of(Request(f"http://127.0.0.1{path}", body, "application/json", host))
    clients = {name: Client(port, host=where) for name, (where, port) in hosts.items()}
    times: dict[str, list[float]] = {name: [] for name in clients}
    ends, sent = time.monotonic() + seconds, 0
    while time.monotonic() < ends:
        for name, client in clients.items():
            answer = client.ask(message)
            assert answer.status == 200, answer.body
            if sent >= WARM_UP_REQUESTS:
                times[name].append(answer.ms)
        sent += 1
    for client in clients.values():
        client.close()
    return times


def _memory(running: Platform) -> list[tuple[str, float]]:
    """Return the proportional share of memory of every process, in MB."""
    rows = []
    for process in running.processes():
        words = " ".join(process.cmdline())
        what = next((word for word in ("programs.gateway", "serve", "up") if word in words), words)
        parent = process.parent()
        if what == "serve" and parent is not None and "serve" in " ".join(parent.cmdline()):
            what = "worker or fork server"
        names = {"programs.gateway": "gateway", "serve": "model server (front)", "up": "control plane"}
        rows.append((names.get(what, what), process.memory_full_info().pss / 1e6))
    return sorted(rows)


def _row(what: str, values: list[float]) -> list[str]:
    return [what, f"{statistics.median(values):.2f}", f"{min(values):.2f}", f"{max(values):.2f}"]


def _spread(what: str, values: list[float]) -> list[str]:
    cuts = statistics.quantiles(values, n=100)
    return [what, f"{cuts[49]:.3f}", f"{cuts[98]:.3f}", f"{min(values):.3f}"]


def _goal(seen: Seen) -> Goal:
    woken, alone = min(seen.woken), min(seen.alone)
    added = (woken - alone) * 1000
    return Goal(
        "scale from zero: first answer",
        f"<= the model server's own start + {WAKE_MS_MAX} ms",
        f"{added:+.0f} ms ({woken:.2f} s, {alone:.2f} s)",
        added <= WAKE_MS_MAX,
    )
