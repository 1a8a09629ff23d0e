"""How many files a process may have open; each connection is one. Programs with doors call it when they begin."""

from __future__ import annotations

import contextlib
import resource

OPEN_FILES_MAX = 1_048_576
"""For one process; systems without a limit of their own name absurd numbers, and some programs count up to the limit."""


def allow_open_files() -> None:
    """Let this process, and those that it starts, have as many open files as the system allows: each connection is one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = OPEN_FILES_MAX if hard == resource.RLIM_INFINITY else min(hard, OPEN_FILES_MAX)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
