"""Two hundred InferenceServices on one machine, two of them awake: what does one more cost?

What we expect, and why: an apply is visible as soon as it is answered, since the store is one file and one writer: well under 50 ms, and
the last as fast as the first, because nothing in an apply looks at all services. An idle service is a dozen rows in the store and a few
routes: well under 1 MB in the two processes together. Looking a host up is one dictionary access: the same at 10 and at 1,000 hosts. When
nothing changes, nothing is done but the autoscaler's look every two seconds.

Run: ``python -m benchmarks many_services``.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path

import psutil

from benchmarks.question import Effort, Goal, Result, table
from flambeau.cli.api import Api
from flambeau.gateway.document import Backend, Destination, Document, Host, Rule
from flambeau.gateway.table import Table
from tests.system.harness import Platform, until
from tests.system.many import apply, client, path, ready_count, service

SERVICES = 200
BRIEF_SERVICES = 12
IDLE_SECONDS = 10
"""Of watching, for each second that a cell takes."""
LOOKUPS = 100_000


def ask(effort: Effort) -> Result:
    """Apply, look, wait, weigh, and watch what is done when nothing changes."""
    count, idle = BRIEF_SERVICES if effort.brief else SERVICES, 1 if effort.brief else IDLE_SECONDS * effort.seconds
    with tempfile.TemporaryDirectory(prefix="fb-") as folder:
        running = Platform(Path(folder) / "home")
        running.start()
        try:
            with client(running) as api:
                tables, most = _applied(running, api, count)
            tables += _idle(running, idle)
        finally:
            running.stop()
    return Result(tables + _lookups(), (Goal(f"apply to visible, {count} services", "< 50 ms each", f"most {most:.0f} ms", most < 50),))


def _applied(running: Platform, api: Api, count: int) -> tuple[str, float]:
    for number in range(2):
        apply(api, service(f"awake-{number}", minReplicas=1))
    until(lambda: ready_count(api) == 2, seconds=60, what="two awake services")
    before, seen = _weigh(running), []
    for number in range(count - 2):
        began = time.perf_counter()
        apply(api, service(f"asleep-{number}", asleep=True))
        api.get(path(f"asleep-{number}"))
        seen.append((time.perf_counter() - began) * 1000)
    applied = time.monotonic()
    until(lambda: ready_count(api) == count, seconds=120, what="all services Ready")
    settled = time.monotonic() - applied
    quarter = len(seen) // 4
    rows = [["first quarter", *_spread(seen[:quarter])], ["last quarter", *_spread(seen[-quarter:])], ["all", *_spread(seen)]]
    tables = table([f"apply to visible, {count} services, ms", "median", "p99", "most"], rows)
    began = time.perf_counter()
    answer = running.post("/v1/models/m:predict", {"instances": []}, host=f"asleep-{count - 3}.default.svc.cluster.local")
    assert answer.status_code == 200, answer.text
    woken = (time.perf_counter() - began) * 1000
    tables += (
        f"All {count} Ready {settled:.1f} s after the last apply. First answer of one that slept, its process included: {woken:.0f} ms.\n\n"
    )
    after = _weigh(running)
    rows = [
        [name, f"{before[name]:.1f}", f"{after[name]:.1f}", f"{(after[name] - before[name]) * 1000 / (count - 2):.0f}"] for name in after
    ]
    return tables + table(["process", "PSS with 2, MB", f"PSS with {count}, MB", "kB an idle service"], rows), max(seen)


def _idle(running: Platform, seconds: int) -> str:
    processes = _named(running)
    began_at = {name: sum(process.cpu_times()[:2]) for name, process in processes.items()}
    time.sleep(seconds)
    rows = [[name, f"{(sum(process.cpu_times()[:2]) - began_at[name]) / seconds * 100:.2f}"] for name, process in processes.items()]
    return table(["process", f"CPU when nothing changes, % of a core over {seconds} s"], rows)


def _named(running: Platform) -> dict[str, psutil.Process]:
    """Return the processes that every service shares."""
    found = {}
    for process in running.processes():
        words = process.cmdline()
        if "flambeau.programs.gateway" in words:
            found["gateway"] = process
        elif "up" in words:
            found["control plane"] = process
    return found


def _weigh(running: Platform) -> dict[str, float]:
    return {name: process.memory_full_info().pss / 1e6 for name, process in _named(running).items()}


def _lookups() -> str:
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
    return table(["hosts", "lookup, us"], rows)


def _spread(values: list[float]) -> list[str]:
    cuts = statistics.quantiles(values, n=100)
    return [f"{cuts[49]:.1f}", f"{cuts[98]:.1f}", f"{max(values):.1f}"]
