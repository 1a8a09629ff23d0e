"""What a process and all that it started use."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import pytest

from flambeau.control.agent.usage import memory_bytes_over, tree, tree_usage

MEBIBYTE = 1024**2
CHILD = "hoard = bytearray(b'x') * (60 * 1024 * 1024); print('up', flush=True); input()"
PARENT = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {CHILD!r}])"


@pytest.fixture
def family() -> Iterator[subprocess.Popen[bytes]]:
    """A process whose child holds 60 MiB."""
    process = subprocess.Popen([sys.executable, "-c", PARENT], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"up\n"
    yield process
    process.communicate(b"\n", timeout=20)


def test_what_children_use_counts(family: subprocess.Popen[bytes]) -> None:
    assert len(tree(family.pid)) == 2
    seconds, memory = tree_usage(family.pid)
    assert seconds > 0
    assert memory > 60 * MEBIBYTE
    assert memory_bytes_over(family.pid, 50 * MEBIBYTE) > 60 * MEBIBYTE
    assert memory_bytes_over(family.pid, 2000 * MEBIBYTE) == 0


def test_a_process_that_is_gone_uses_nothing() -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait(20)
    assert (tree(gone.pid), tree_usage(gone.pid)) == ([], (0.0, 0))
