"""The machine's own numbers: CPU, memory, disk, GPUs; measured on a timer inside the server.

TorchServe starts a Python process each minute for this.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import psutil

_log = logging.getLogger(__name__)

FIRST_CPU_SECONDS = 0.1
"""The first measurement of the CPU has no earlier one to compare with, and watches it for this long."""

_MEGABYTE = 1 << 20
_GIGABYTE = 1 << 30


@dataclass(frozen=True, slots=True)
class Reading:
    """One number of the machine."""

    name: str
    """The metric's."""
    value: float
    device: str | None = None
    """The GPU's number."""


class HostMeter:
    """Measure again and again; what cannot be read is left out.

    Args:
        interval_seconds: from one measurement to the next.
        on_measured: called on the loop after each, with all readings.
    """

    def __init__(self, interval_seconds: float, on_measured: Callable[[Sequence[Reading]], None]) -> None:
        self._interval_seconds = interval_seconds
        self._on_measured = on_measured
        self._cpu_seconds: float | None = FIRST_CPU_SECONDS

    async def run(self) -> None:
        """Measure now and after each interval, until cancelled."""
        while True:
            # A hung disk holds a thread, not the loop.
            self._on_measured(await asyncio.to_thread(self._measure))
            await asyncio.sleep(self._interval_seconds)

    def _measure(self) -> list[Reading]:
        readings = [Reading("CPUUtilization", psutil.cpu_percent(self._cpu_seconds))]
        self._cpu_seconds = None
        memory = psutil.virtual_memory()
        readings += [
            Reading("MemoryUsed", memory.used / _MEGABYTE),
            Reading("MemoryAvailable", memory.available / _MEGABYTE),
            Reading("MemoryUtilization", memory.percent),
        ]
        try:
            disk = psutil.disk_usage("/")
        except OSError as error:
            _log.warning("cannot measure the disk of /: %s", error)
        else:
            readings += [
                Reading("DiskUsage", disk.used / _GIGABYTE),
                Reading("DiskUtilization", disk.percent),
                Reading("DiskAvailable", disk.free / _GIGABYTE),
            ]
        return [*readings, *gpu_readings()]


def gpu_readings() -> list[Reading]:
    """Return the numbers of NVIDIA GPUs; none where there is no GPU, no driver or no nvidia-ml-py."""
    try:
        import pynvml  # noqa: PLC0415 - an optional package
    except ImportError:
        return []
    readings: list[Reading] = []
    try:
        pynvml.nvmlInit()
        try:
            for index in range(pynvml.nvmlDeviceGetCount()):
                device = pynvml.nvmlDeviceGetHandleByIndex(index)
                memory = pynvml.nvmlDeviceGetMemoryInfo(device)
                readings += [
                    Reading("GPUMemoryUtilization", 100 * memory.used / memory.total, str(index)),
                    Reading("GPUMemoryUsed", memory.used / _MEGABYTE, str(index)),
                    Reading("GPUUtilization", float(pynvml.nvmlDeviceGetUtilizationRates(device).gpu), str(index)),
                ]
        finally:
            pynvml.nvmlShutdown()
    except pynvml.NVMLError:
        return readings
    return readings
