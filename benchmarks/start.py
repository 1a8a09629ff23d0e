"""How long until the first right answer, and how much memory does it take?

Expected: our start costs one import of torch and torchvision, in the fork server, beside the front's own start; so it is near a bare Python
process that imports TorchServe's image handler, loads the model and runs it once. Every further worker is forked from that import and
costs what it writes, not another copy of torch.

Run: ``python -m benchmarks start``.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.archives import Workload, workload
from benchmarks.question import Effort, Goal, Result, table
from benchmarks.sides.all import sides
from benchmarks.sides.model_servers import Flambeau
from benchmarks.sides.side import Deployment, environment_for, serving

MORE_WORKERS = 3


def ask(effort: Effort) -> Result:
    """Start every side in turn, several times."""
    seconds: dict[str, list[float]] = {}
    memory: dict[str, float] = {}
    with tempfile.TemporaryDirectory(prefix="fb-") as name:
        folder = Path(name)
        work = workload("mnist", folder)
        work.archive(folder)
        for _ in range(effort.rounds):
            seconds.setdefault("bare Python", []).append(_bare(folder))
            for side in sides(effort.peers):
                with serving(side, Deployment(work)) as running:
                    seconds.setdefault(side.name, []).append(running.seconds_to_answer)
                    memory[side.name] = min(running.pss_mb(), memory.get(side.name, float("inf")))
        further = _further_worker(work, 1 if effort.brief else MORE_WORKERS)
    rows = [
        [name, f"{statistics.median(each):.2f}", f"{min(each):.2f}", f"{memory[name]:.0f}" if name in memory else "-"]
        for name, each in seconds.items()
    ]
    tables = table(["MNIST, one worker", "start to first answer, s: median", "least", "memory of the tree (PSS), MB"], rows)
    tables += f"Each further worker of ours takes {further:.0f} MB, its copy of the weights (4.8 MB) included.\n\n"
    return Result(tables, tuple(_goals(seconds, memory, further)))


def _bare(folder: Path) -> float:
    """Return the seconds of a process that imports the image handler, loads the model and runs it once."""
    began = time.monotonic()
    command = [sys.executable, "-m", "benchmarks.work.bare", str(folder / "mnist.mar"), str(folder / "body")]
    (folder / "body").write_bytes(workload("mnist", folder).body)
    subprocess.run(command, check=True, timeout=120, env=environment_for(folder), cwd=folder)
    return time.monotonic() - began


def _further_worker(work: Workload, more: int) -> float:
    """Return what a worker adds to the tree's memory, in MB."""
    sizes = []
    for count in (1, 1 + more):
        with serving(Flambeau(), Deployment(work, workers=count)) as running:
            for _ in range(50 * count):
                running.request.once()
            sizes.append(running.pss_mb())
    return (sizes[1] - sizes[0]) / more


def _goals(seconds: dict[str, list[float]], memory: dict[str, float], further: float) -> list[Goal]:
    bare, ours = statistics.median(seconds["bare Python"]), statistics.median(seconds["flambeau"])
    goals = [Goal("start to first right answer", "<= bare Python", f"{ours / bare:.2f}x ({ours:.2f} s, {bare:.2f} s)", ours <= bare)]
    if "TorchServe" in memory:
        mine, theirs = memory["flambeau"], memory["TorchServe"]
        goals.append(
            Goal("memory, one worker", "<= 0.6x TorchServe's", f"{mine / theirs:.2f}x ({mine:.0f}, {theirs:.0f} MB)", mine <= 0.6 * theirs)
        )
    goals.append(Goal("memory of a further worker", "<= 30 MB before its weights", f"{further - 4.8:.0f} MB", further - 4.8 <= 30))
    return goals
