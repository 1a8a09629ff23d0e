"""What pods use of this machine: the processor time and memory of their process groups."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import Collection, Iterator
from pathlib import Path

import psutil

from flambeau.control.agent.directory import directories
from flambeau.foundation.clock import Clock

_Pod = tuple[str, str]
"""Namespace and name."""
Use = tuple[float, int]
"""Cores, or processor seconds, and bytes of memory."""


class PodUsage:
    """Measure pods.

    Args:
        home: the platform's directory.
        clock: for the time between two looks.
    """

    def __init__(self, home: Path, clock: Clock) -> None:
        self._pods = home / "pods"
        self._clock = clock

    async def measure(self, pods: Collection[_Pod], seconds: float) -> dict[_Pod, dict[str, Use]]:
        """Return what each running container of each pod uses: cores, over so many seconds, and memory, shared pages in equal parts."""
        begun = self._clock.monotonic()
        before = await asyncio.to_thread(self._look, pods)
        await self._clock.sleep(seconds)
        after = await asyncio.to_thread(self._look, pods)
        passed = max(self._clock.monotonic() - begun, seconds)
        # A process that ended in between takes its time along.
        return {
            pod: {
                name: (max(0.0, time - before[pod][name][0]) / passed, memory)
                for name, (time, memory) in containers.items()
                if name in before[pod]
            }
            for pod, containers in after.items()
            if pod in before
        }

    async def measure_machine(self, seconds: float) -> tuple[float, int]:
        """Return what the whole machine uses: cores, over so many seconds, and bytes of memory."""
        begun, before = self._clock.monotonic(), _busy_seconds()
        await self._clock.sleep(seconds)
        passed = max(self._clock.monotonic() - begun, seconds)
        memory = psutil.virtual_memory()
        return max(0.0, _busy_seconds() - before) / passed, memory.total - memory.available

    async def read(self, pods: Collection[_Pod]) -> dict[_Pod, Use]:
        """Return the processor seconds so far and the memory of each running pod."""
        found = await asyncio.to_thread(self._look, pods)
        return {
            pod: (sum(time for time, _ in containers.values()), sum(memory for _, memory in containers.values()))
            for pod, containers in found.items()
        }

    def _look(self, pods: Collection[_Pod]) -> dict[_Pod, dict[str, Use]]:
        """Return each container's processor seconds so far, and its memory."""
        found = {}
        for directory in directories(self._pods):
            if directory.id[:2] in pods and (living := directory.living()):
                found[directory.id[:2]] = {name: tree_usage(record.pid) for name, record in living.items()}
        return found


def _busy_seconds() -> float:
    times = psutil.cpu_times()
    return float(times.user + times.system + getattr(times, "nice", 0.0))


def tree_usage(leader: int) -> tuple[float, int]:
    """Return the processor seconds and the memory, shared pages in equal parts, of a process and all that it started. Blocks."""
    seconds, memory = 0.0, 0
    for process in tree(leader):
        try:
            times = process.cpu_times()
            memory += process.memory_full_info().pss
        except psutil.Error:
            continue
        seconds += times.user + times.system
    return seconds, memory


def memory_bytes_over(leader: int, limit: int) -> int:
    """Return the memory of a process and all that it started if it is over a limit, else 0. Blocks.

    The plain sum, which counts shared pages several times, is cheap and an upper bound: only over it the exact one is asked for.
    """
    most = 0
    for process in tree(leader):
        with contextlib.suppress(psutil.Error):
            most += process.memory_info().rss
    if most <= limit:
        return 0
    _, exact = tree_usage(leader)
    return exact if exact > limit else 0


def tree(leader: int) -> list[psutil.Process]:
    """Return a process and all that it started; none where it is gone."""
    try:
        process = psutil.Process(leader)
        if sys.platform != "linux":
            return [process, *process.children(recursive=True)]
    except psutil.Error:
        return []
    found = [process]
    for pid in _descendants(leader):
        with contextlib.suppress(psutil.Error):
            found.append(psutil.Process(pid))
    return found


def _descendants(pid: int) -> Iterator[int]:
    """Yield what a process started, from the kernel's own lists: a look at every process of the machine costs more the more there are."""
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            children = path.read_text().split()
        except OSError:
            continue
        for child in map(int, children):
            yield child
            yield from _descendants(child)
