"""ENABLE_TORCH_PROFILER: a batch under torch's profiler, its trace for TensorBoard and its ten longest operations in the log."""

from __future__ import annotations

import contextlib
import logging
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

logger = logging.getLogger(__name__)

ROWS = 10
"""Operations in the log's table."""


def trace_directory(model_name: str) -> Path:
    """Return where a model's traces go."""
    return Path(tempfile.gettempdir(), "pytorch_profiler", Path(model_name).name or "model")


@contextlib.contextmanager
def profiled(model_name: str, arguments: Mapping[str, Any]) -> Iterator[Any]:
    """Profile what runs inside; yields torch's profiler.

    Args:
        model_name: names the folder of the trace.
        arguments: of torch.profiler.profile, the handler's own ``profiler_args``.
    """
    activities = [torch.profiler.ProfilerActivity.CPU]
    if torch.cuda.is_available():
        activities.append(torch.profiler.ProfilerActivity.CUDA)
    chosen = dict(arguments) or {"activities": activities, "record_shapes": True}
    directory = trace_directory(model_name)
    chosen.setdefault("on_trace_ready", torch.profiler.tensorboard_trace_handler(str(directory)))
    with torch.profiler.profile(**chosen) as profiler:
        yield profiler
    logger.info(
        "profile of %s, traces in %s\n%s", model_name, directory, profiler.key_averages().table(sort_by="cpu_time_total", row_limit=ROWS)
    )
