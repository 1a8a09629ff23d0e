from __future__ import annotations

import platform
import subprocess
import sys

import pytest

PROGRAM = """
import ctypes, os, struct, subprocess, sys
from flambeau.foundation.scheduling import take_short_turns

def turn_ns():
    attributes = ctypes.create_string_buffer(48)
    assert ctypes.CDLL(None).syscall({"x86_64": 315, "aarch64": 275}[os.uname().machine], 0, attributes, 48, 0) == 0
    return struct.unpack("<IIQiIQQQ", attributes.raw)[5]

os.nice(3)
before = turn_ns()
take_short_turns()
read, write = os.pipe()
if os.fork() == 0:
    os.write(write, str(turn_ns()).encode())
    os._exit(0)
print(before, turn_ns(), os.read(read, 100).decode(), os.getpriority(os.PRIO_PROCESS, 0))
"""


@pytest.mark.skipif(platform.machine() not in ("x86_64", "aarch64"), reason="the system call is not known there")
def test_turns_are_short_for_the_process_but_not_for_its_children() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=60, check=True)
    before, now, of_child, nice = map(int, done.stdout.split())
    if before == 0:
        pytest.skip("this kernel has no turns of a process's own")
    assert (now, of_child, nice) == (500_000, before, 3)
