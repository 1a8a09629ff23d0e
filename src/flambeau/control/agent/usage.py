"""What pods use of this machine: the processor time and memory of their process groups."""

from __future__ import annotations

import asyncio
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

    def _look(self, pods: Collection[_Pod]) -> dict[_Pod, tuple[float, int]]:
        """Return each pod's processor seconds so far, and its memory."""
        found = {}
        for directory in directories(self._pods):
            record = directory.record()
            if directory.id[:2] in pods and record is not None and record.is_alive():
                found[directory.id[:2]] = _sum(record.pid)
        return found


def _sum(leader: int) -> tuple[float, int]:
    seconds, memory = 0.0, 0
    try:
        processes = [psutil.Process(leader), *psutil.Process(leader).children(recursive=True)]
    except psutil.Error:
        return seconds, memory
    for process in processes:
        try:
            times = process.cpu_times()
            memory += process.memory_full_info().pss
        except psutil.Error:
            continue
        seconds += times.user + times.system
    return seconds, memory
