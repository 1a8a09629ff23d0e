"""Freed memory that stays: told by the page faults of a process that allocates the same again and again."""

from __future__ import annotations

import subprocess
import sys

import pytest

PROGRAM = """
import resource, sys
from flambeau.foundation.memory import keep_freed_memory

def use():
    for piece in [b"x" * 250_000 for _ in range(8)]:
        assert piece
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

if sys.argv[1] == "keep":
    keep_freed_memory()
before = use()
print([use() for _ in range(50)][-1] - before)
"""


def faults(how: str) -> int:
    done = subprocess.run([sys.executable, "-c", PROGRAM, how], capture_output=True, text=True, timeout=60, check=True)
    return int(done.stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="the allocator is another one")
def test_pages_of_freed_memory_are_used_again() -> None:
    assert faults("keep") < faults("usual") / 10
