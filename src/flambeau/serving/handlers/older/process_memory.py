"""The memory of worker processes as TorchServe's collector prints it, for users' collector scripts."""

from __future__ import annotations

import logging
from typing import TextIO

import psutil

logger = logging.getLogger(__name__)


def get_cpu_usage(pid: str) -> int:
    """Return the resident bytes of a process; 0 if there is none."""
    try:
        return int(psutil.Process(int(pid)).memory_info().rss)
    except psutil.Error as error:
        logger.warning("no memory of process %s: %s", pid, error)
        return 0


def check_process_mem_usage(stdin: TextIO) -> None:
    """Log the resident bytes of the processes that one line lists with commas between them."""
    for pid in filter(None, stdin.readline().strip().split(",")):
        logger.info("%s:%d", pid, get_cpu_usage(pid))
