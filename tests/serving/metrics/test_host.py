from __future__ import annotations

import asyncio
import contextlib
import sys
import types
from collections.abc import Sequence

import psutil
import pytest

from flambeau.serving.metrics import host
from flambeau.serving.metrics.host import HostMeter, Reading, gpu_readings


async def test_the_machine_is_measured_now_and_again() -> None:
    measured: list[Sequence[Reading]] = []
    twice = asyncio.Event()

    def take(readings: Sequence[Reading]) -> None:
        measured.append(readings)
        if len(measured) == 2:
            twice.set()

    meter = asyncio.create_task(HostMeter(0.01, take).run())
    await asyncio.wait_for(twice.wait(), 10)
    meter.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await meter
    values = {reading.name: reading.value for reading in measured[0] if reading.device is None}
    assert list(values) == [
        *("CPUUtilization", "MemoryUsed", "MemoryAvailable", "MemoryUtilization"),
        *("DiskUsage", "DiskUtilization", "DiskAvailable"),
    ]
    assert 0 < values["MemoryAvailable"] < psutil.virtual_memory().total / 2**20
    assert 0 < values["DiskUsage"] + values["DiskAvailable"] <= psutil.disk_usage("/").total / 2**30 + 0.001
    assert all(0 <= values[name] <= 100 for name in ("CPUUtilization", "MemoryUtilization", "DiskUtilization"))


def test_an_unreadable_disk_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(path: str) -> None:
        raise PermissionError(path)

    monkeypatch.setattr(psutil, "disk_usage", fail)
    monkeypatch.setattr(host, "FIRST_CPU_SECONDS", 0.001)
    readings = HostMeter(60, lambda readings: None)._measure()
    assert "MemoryUsed" in {reading.name for reading in readings}
    assert "DiskUsage" not in {reading.name for reading in readings}


def test_gpus_are_read_through_nvidias_library(monkeypatch: pytest.MonkeyPatch) -> None:
    library = types.ModuleType("pynvml")
    library.__dict__.update(
        NVMLError=OSError,
        nvmlInit=lambda: None,
        nvmlShutdown=lambda: None,
        nvmlDeviceGetCount=lambda: 1,
        nvmlDeviceGetHandleByIndex=lambda index: index,
        nvmlDeviceGetMemoryInfo=lambda device: types.SimpleNamespace(used=3 << 20, total=12 << 20),
        nvmlDeviceGetUtilizationRates=lambda device: types.SimpleNamespace(gpu=40),
    )
    monkeypatch.setitem(sys.modules, "pynvml", library)
    assert gpu_readings() == [
        Reading("GPUMemoryUtilization", 25.0, "0"),
        Reading("GPUMemoryUsed", 3.0, "0"),
        Reading("GPUUtilization", 40.0, "0"),
    ]

    def fail() -> None:
        raise OSError("no driver")

    library.__dict__.update(nvmlInit=fail)
    assert gpu_readings() == []
