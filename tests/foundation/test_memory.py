"""Freed memory that stays, told by the page faults of a process that allocates the same again and again; and code that goes."""

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


GIVES_CODE_BACK = """
import re, ssl
from flambeau.foundation.memory import give_back_code

def held():
    return int(re.search(r"RssFile:\\s+(\\d+) kB", open("/proc/self/status").read())[1])

before = held()
give_back_code()
print(before, held(), ssl.create_default_context().check_hostname)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="nothing is given back")
def test_code_is_given_back_and_comes_again_when_it_is_used() -> None:
    done = subprocess.run([sys.executable, "-c", GIVES_CODE_BACK], capture_output=True, text=True, timeout=60, check=True)
    before, after, works = done.stdout.split()
    assert int(after) < int(before) / 2
    assert works == "True"
