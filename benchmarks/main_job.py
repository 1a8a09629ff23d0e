"""The main job's figures: apply to Ready, predict through the gateway and directly, memory of each process.

What we expect, and why: Ready well under 5 s, because a worker is forked from a server that has torch imported already and nothing sleeps;
a cached model saves only the download, tens of milliseconds on loopback. The gateway's hop costs less than 0.2 ms at the median: one more
parse and copy of a small request. Both paths are measured in turn in one run, request by request, so that a noisy machine hits both alike.

Run: ``make bench``. Prints Markdown for docs/performance.md.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import platform as machine
import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tests.fixtures.s3 import start_s3, stop_s3
from tests.system.deploy import BUCKET, EXAMPLE, make_model, manifest, secret
from tests.system.harness import Platform, host_of

NAME = "mnist-torchserve"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="deployments of each sort")
    parser.add_argument("--requests", type=int, default=2000, help="requests of each path")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        server = start_s3(folder / "s3")
        running = Platform(folder / "home")
        try:
            running.start()
            model = make_model(folder / "model")
            server.create_bucket(BUCKET)
            running.kubectl("create", "ns", "torchserve")
            running.kubectl("apply", "-f", "-", stdin=secret(server))
            running.kubectl("apply", "-f", str(EXAMPLE / "kubernetes" / "service-account.yaml"))
            fresh, cached = [], []
            for number in range(options.rounds):
                server.upload_dir(model.folder, BUCKET, f"round-{number}")
                fresh.append(deploy(running, f"round-{number}"))
                remove(running)
                cached.append(deploy(running, f"round-{number}"))
                if number < options.rounds - 1:
                    remove(running)
            print(f"{time.strftime('%Y-%m-%d')}, {os.cpu_count()} cores, {machine.platform()}, Python {machine.python_version()}\n")
            table(["apply to Ready, s", "median", "least", "most"], [row("not cached", fresh), row("cached", cached)])
            gateway, direct = latencies(running, json.dumps(model.request).encode(), options.requests)
            table(["predict at c=1, ms", "p50", "p99", "least"], [spread("gateway", gateway), spread("directly", direct)])
            table(["process", "PSS, MB"], [[what, f"{size:.0f}"] for what, size in memory(running)])
        finally:
            running.stop()
            stop_s3(server)
    return 0


def deploy(running: Platform, prefix: str) -> float:
    """Apply the service; return the seconds until kubectl sees it Ready."""
    text = manifest("inference-service").replace("kserve/torchserve/mnist", prefix)
    began = time.monotonic()
    running.kubectl("apply", "-f", "-", stdin=text)
    running.kubectl("wait", "--for=condition=Ready", f"isvc/{NAME}", "-n", "torchserve", "--timeout=120s")
    return time.monotonic() - began


def remove(running: Platform) -> None:
    running.kubectl("delete", "isvc", NAME, "-n", "torchserve", "--timeout=60s")
    while running.pods(NAME):
        time.sleep(0.1)


def latencies(running: Platform, body: bytes, count: int) -> tuple[list[float], list[float]]:
    """Send requests in turn over two kept connections; return the milliseconds of each path."""
    address = running.pods(NAME)[0]["status"]["podIP"]
    paths = [http.client.HTTPConnection("127.0.0.1", running.gateway_port), http.client.HTTPConnection(address, 8080)]
    times: tuple[list[float], list[float]] = ([], [])
    headers = {"Host": host_of(NAME), "Content-Type": "application/json"}
    for number in range(count + 100):
        for connection, seen in zip(paths, times, strict=True):
            began = time.perf_counter()
            connection.request("POST", "/v1/models/mnist:predict", body, headers)
            answer = connection.getresponse().read()
            took = time.perf_counter() - began
            assert answer == b'{"predictions":[0]}', answer
            if number >= 100:  # the first warm things up
                seen.append(took * 1000)
    return times


def memory(running: Platform) -> list[tuple[str, float]]:
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


def row(what: str, values: list[float]) -> list[str]:
    return [what, f"{statistics.median(values):.2f}", f"{min(values):.2f}", f"{max(values):.2f}"]


def spread(what: str, values: list[float]) -> list[str]:
    cuts = statistics.quantiles(values, n=100)
    return [what, f"{cuts[49]:.3f}", f"{cuts[98]:.3f}", f"{min(values):.3f}"]


def table(head: list[str], rows: list[list[str]]) -> None:
    for cells in (head, ["---"] * len(head), *rows):
        print("| " + " | ".join(cells) + " |")
    print(flush=True)


if __name__ == "__main__":
    sys.exit(main())
