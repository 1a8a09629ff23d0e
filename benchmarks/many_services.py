"""Two hundred InferenceServices on one machine, two of them awake: what does one more cost?

What we expect, and why: an apply is visible as soon as it is answered, since the store is one file and one writer: well under 50 ms, and
the last as fast as the first, because nothing in an apply looks at all services. An idle service is a dozen rows in the store and a few
routes: well under 1 MB in the two processes together. Looking a host up is one dictionary access: the same at 10 and at 1,000 hosts. When
nothing changes, nothing is done but the autoscaler's look every two seconds.

Run: ``.venv/bin/python benchmarks/many_services.py``. Prints Markdown for docs/performance.md.
"""

from __future__ import annotations

import argparse
import os
import platform as machine
import statistics
import sys
import tempfile
import time
from pathlib import Path

import psutil

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from flambeau.gateway.document import Backend, Destination, Document, Host, Rule
from flambeau.gateway.table import Table
from tests.system.harness import Platform, until
from tests.system.many import apply, client, path, ready_count, service

IDLE_SECONDS = 20.0
LOOKUPS = 200_000


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--services", type=int, default=200, help="how many, two of them awake")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        running = Platform(Path(folder) / "home")
        running.start()
        try:
            print(f"{time.strftime('%Y-%m-%d')}, {os.cpu_count()} cores, {machine.platform()}, Python {machine.python_version()}\n")
            measure(running, options.services)
        finally:
            running.stop()
    lookups()
    return 0


def measure(running: Platform, count: int) -> None:
    """Apply, look, wait, weigh, and watch what is done when nothing changes."""
    with client(running) as api:
        for number in range(2):
            apply(api, service(f"awake-{number}", minReplicas=1))
        until(lambda: ready_count(api) == 2, seconds=60, what="two awake services")
        before = weigh(running)
        seen = []
        for number in range(count - 2):
            began = time.perf_counter()
            apply(api, service(f"asleep-{number}", asleep=True))
            api.get(path(f"asleep-{number}"))
            seen.append((time.perf_counter() - began) * 1000)
        applied = time.monotonic()
        until(lambda: ready_count(api) == count, seconds=120, what="all services Ready")
        settled = time.monotonic() - applied
        quarter = len(seen) // 4
        rows = [["first quarter", *spread(seen[:quarter])], ["last quarter", *spread(seen[-quarter:])], ["all", *spread(seen)]]
        table(["apply to visible, ms", "median", "p99", "most"], rows)
        print(f"All {count} Ready {settled:.1f} s after the last apply.\n")
        began = time.perf_counter()
        answer = running.post("/v1/models/m:predict", {"instances": []}, host=f"asleep-{count - 3}.default.svc.cluster.local")
        assert answer.status_code == 200, answer.text
        print(f"First answer of one that slept, its process included: {(time.perf_counter() - began) * 1000:.0f} ms.\n")
        after = weigh(running)
        rows = [
            [name, f"{before[name]:.1f}", f"{after[name]:.1f}", f"{(after[name] - before[name]) * 1000 / (count - 2):.0f}"]
            for name in after
        ]
        table(["process", "PSS with 2, MB", f"PSS with {count}, MB", "kB an idle service"], rows)
    processes = named(running)
    began_at = {name: sum(process.cpu_times()[:2]) for name, process in processes.items()}
    time.sleep(IDLE_SECONDS)
    rows = [[name, f"{(sum(process.cpu_times()[:2]) - began_at[name]) / IDLE_SECONDS * 100:.2f}"] for name, process in processes.items()]
    table(["process", f"CPU when nothing changes, % of a core over {IDLE_SECONDS:.0f} s"], rows)


def named(running: Platform) -> dict[str, psutil.Process]:
    """Return the processes that every service shares."""
    found = {}
    for process in running.processes():
        words = process.cmdline()
        if "flambeau.programs.gateway" in words:
            found["gateway"] = process
        elif "up" in words:
            found["control plane"] = process
    return found


def weigh(running: Platform) -> dict[str, float]:
    return {name: process.memory_full_info().pss / 1e6 for name, process in named(running).items()}


def lookups() -> None:
    """Look the last host up, with more and more of them."""
    rows = []
    for count in (10, 200, 1000):
        hosts = tuple(Host(f"m{number}.ns.localhost", (Rule((Destination(100, backend="b"),), source="s"),)) for number in range(count))
        routes = Table(Document(1, hosts, (Backend("b", ()),)))
        name, headers = hosts[-1].name, [(b"Host", b"x"), (b"Content-Type", b"application/json")]
        began = time.perf_counter()
        for _ in range(LOOKUPS):
            routes.route(name, b"/v1/models/m:predict", b"", "POST", headers, 0.5)
        rows.append([str(count), f"{(time.perf_counter() - began) / LOOKUPS * 1e6:.2f}"])
    table(["hosts", "lookup, µs"], rows)


def spread(values: list[float]) -> list[str]:
    cuts = statistics.quantiles(values, n=100)
    return [f"{cuts[49]:.1f}", f"{cuts[98]:.1f}", f"{max(values):.1f}"]


def table(head: list[str], rows: list[list[str]]) -> None:
    for cells in (head, ["---"] * len(head), *rows):
        print("| " + " | ".join(cells) + " |")
    print(flush=True)


if __name__ == "__main__":
    sys.exit(main())
