"""The machine's numbers as TorchServe's collector prints them, for users' collector scripts; our server measures by itself."""

from __future__ import annotations

import logging
from types import FunctionType, ModuleType

import psutil

from flambeau.serving.handlers.metrics import Dimension
from flambeau.serving.handlers.older.metrics_store import Metric

logger = logging.getLogger(__name__)

MEBIBYTE = 1024 * 1024
GIBIBYTE = 1024 * MEBIBYTE

system_metrics: list[Metric] = []
"""What was measured so far."""
dimension = [Dimension("Level", "Host")]


def cpu_utilization() -> None:
    """Measure the load of all cores since the last call."""
    system_metrics.append(Metric("CPUUtilization", psutil.cpu_percent(), "percent", dimension))


def memory_used() -> None:
    """Measure the memory in use."""
    system_metrics.append(Metric("MemoryUsed", psutil.virtual_memory().used / MEBIBYTE, "MB", dimension))


def memory_available() -> None:
    """Measure the memory that can be had."""
    system_metrics.append(Metric("MemoryAvailable", psutil.virtual_memory().available / MEBIBYTE, "MB", dimension))


def memory_utilization() -> None:
    """Measure the share of memory in use."""
    system_metrics.append(Metric("MemoryUtilization", psutil.virtual_memory().percent, "percent", dimension))


def disk_used() -> None:
    """Measure what is used of the root file system."""
    system_metrics.append(Metric("DiskUsage", psutil.disk_usage("/").used / GIBIBYTE, "GB", dimension))


def disk_utilization() -> None:
    """Measure the share of the root file system in use."""
    system_metrics.append(Metric("DiskUtilization", psutil.disk_usage("/").percent, "percent", dimension))


def disk_available() -> None:
    """Measure what is free of the root file system."""
    system_metrics.append(Metric("DiskAvailable", psutil.disk_usage("/").free / GIBIBYTE, "GB", dimension))


def gpu_utilization(num_of_gpu: int) -> None:
    """Measure load and memory of the first GPUs; needs ``nvidia-ml-py`` where there are any.

    Args:
        num_of_gpu: how many.
    """
    if num_of_gpu <= 0:
        return
    import pynvml  # noqa: PLC0415 - an extra

    pynvml.nvmlInit()
    for index in range(num_of_gpu):
        device = pynvml.nvmlDeviceGetHandleByIndex(index)
        memory = pynvml.nvmlDeviceGetMemoryInfo(device)
        about = [*dimension, Dimension("device_id", str(index))]
        system_metrics.append(Metric("GPUMemoryUtilization", memory.used / memory.total * 100, "percent", about))
        system_metrics.append(Metric("GPUMemoryUsed", memory.used // MEBIBYTE, "MB", about))
        system_metrics.append(Metric("GPUUtilization", pynvml.nvmlDeviceGetUtilizationRates(device).gpu, "percent", about))


def collect_all(mod: ModuleType, num_of_gpu: int) -> None:
    """Call every measuring function of a module, and log what there is, a line each and an empty one at the end.

    Args:
        mod: the module; a user's own may add functions.
        num_of_gpu: how many GPUs ``gpu_utilization`` measures.
    """
    for name, measure in sorted(vars(mod).items()):
        if not isinstance(measure, FunctionType) or name in ("collect_all", "log_msg"):
            continue
        if name == "gpu_utilization":
            measure(num_of_gpu)
        else:
            measure()
    for metric in system_metrics:
        logger.info("%s", metric)
    logger.info("")
