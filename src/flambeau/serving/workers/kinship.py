"""Ties between processes: who dies with whom, and who is sacrificed when memory runs out. Linux."""

from __future__ import annotations

import ctypes
import os
import signal
from pathlib import Path

_PR_SET_PDEATHSIG = 1
_PR_SET_NAME = 15
_OOM_SCORE_WORKER = "500"
"""Of -1000 to 1000: the kernel takes a worker before the front or the fork server, which would take all workers with it."""


def die_with_parent(parent: int) -> None:
    """Make the kernel kill this process when the parent's thread that made it ends.

    Args:
        parent: the parent's pid as the parent knows it; a parent that is gone already is noticed.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) failed")
    if os.getppid() != parent:
        os._exit(1)


def name_process(name: str) -> None:
    """Show a name of up to 15 bytes in ``ps`` and ``top``."""
    ctypes.CDLL(None).prctl(_PR_SET_NAME, name.encode()[:15], 0, 0, 0)


def volunteer_for_out_of_memory() -> None:
    """Let the kernel prefer this process when memory runs out."""
    try:
        Path("/proc/self/oom_score_adj").write_text(_OOM_SCORE_WORKER)
    except OSError:
        return  # a container without a writable /proc: the kernel's own choice stands
