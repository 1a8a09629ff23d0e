"""How the kernel shares the cores between this process and those that compute."""

from __future__ import annotations

import ctypes
import os
import platform
import struct
import sys
from typing import Final

TURN_SECONDS: Final = 0.0005
"""As long as a front's longest turn with a request's bytes; what the kernel gives by default is six times that."""

# struct sched_attr as Linux 3.14 had it: size, policy, flags, nice, priority, runtime, deadline, period; times in ns.
_ATTRIBUTES = struct.Struct("<IIQiIQQQ")
_SET_ATTRIBUTES = {"x86_64": 314, "aarch64": 274}
"""The number of the system call sched_setattr, which C libraries do not wrap."""
_NORMAL, _RESET_ON_FORK = 0, 1


def take_short_turns() -> None:
    """Ask for short turns on a core, for the thread that calls: who answers many and computes little is let on at once when it wakes.

    It gets no larger share. Beside a process that computes, the default is to wait for the end of that one's turn, 3 ms: on two cores the
    p99 of small requests was 1.9 ms beside other programs, and is 0.5. Child processes and threads have the default again. Linux 6.12 and
    later heed it; elsewhere nothing happens.
    """
    number = _SET_ATTRIBUTES.get(platform.machine())
    if sys.platform != "linux" or number is None:
        return
    nice = os.getpriority(os.PRIO_PROCESS, 0)
    if os.sched_getscheduler(0) != os.SCHED_OTHER or nice < 0:
        return  # an operator has seen to it, and children would not have that priority any more
    wish = _ATTRIBUTES.pack(_ATTRIBUTES.size, _NORMAL, _RESET_ON_FORK, nice, 0, round(TURN_SECONDS * 1e9), 0, 0)
    ctypes.CDLL(None).syscall(number, 0, wish, 0)
