"""What pods use of this machine: the processor time and memory of their process groups."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Collection
from pathlib import Path

import psutil

from flambeau.control.agent.directory import directories
from flambeau.foundation.clock import Clock

_Pod = tuple[str, str]
"""Namespace and name."""


class PodUsage:
    """Measure pods.

    Args:
        home: the platform's directory.
        clock: for the time between two looks.
    """

    def __init__(self, home: Path, clock: Clock) -> None:
        self._pods = home / "pods"
        self._clock = clock

    async def measure(self, pods: Collection[_Pod], seconds: float) -> dict[_Pod, tuple[float, int]]:
        """Return what each running pod uses: cores, over so many seconds, and bytes of memory, shared ones in equal parts."""
        begun = self._clock.monotonic()
        before = await asyncio.to_thread(self._look, pods)
        await self._clock.sleep(seconds)
        after = await asyncio.to_thread(self._look, pods)
        passed = max(self._clock.monotonic() - begun, seconds)
        # A process that ended in between takes its time along.
        return {pod: (max(0.0, time - before[pod][0]) / passed, memory) for pod, (time, memory) in after.items() if pod in before}

    async def measure_machine(self, seconds: float) -> tuple[float, int]:
        """Return what the whole machine uses: cores, over so many seconds, and bytes of memory."""
        begun, before = self._clock.monotonic(), _busy_seconds()
        await self._clock.sleep(seconds)
        passed = max(self._clock.monotonic() - begun, seconds)
        memory = psutil.virtual_memory()
        return max(0.0, _busy_seconds() - before) / passed, memory.total - memory.available

    async def read(self, pods: Collection[_Pod]) -> dict[_Pod, tuple[float, int]]:
        """Return the processor seconds so far and the memory of each running pod."""
        return await asyncio.to_thread(self._look, pods)

    def _look(self, pods: Collection[_Pod]) -> dict[_Pod, tuple[float, int]]:
        """Return each pod's processor seconds so far, and its memory."""
        found = {}
        for directory in directories(self._pods):
            if directory.id[:2] in pods and (living := directory.living()):
                trees = [tree_usage(record.pid) for record in living.values()]
                found[directory.id[:2]] = (sum(seconds for seconds, _ in trees), sum(memory for _, memory in trees))
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
        return [process, *process.children(recursive=True)]
    except psutil.Error:
        return []
