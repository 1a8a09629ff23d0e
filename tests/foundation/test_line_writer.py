from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from flambeau.foundation.line_writer import Descriptor, LineWriter
from flambeau.foundation.rotating_file import RotatingFile

SECONDS = 10.0


class Gate:
    """A sink that takes nothing until it is opened."""

    def __init__(self) -> None:
        self.opened = threading.Event()
        self.called = threading.Event()
        self.written: list[bytes] = []
        self.closed = False

    def write(self, data: bytes, /) -> None:
        self.called.set()
        assert self.opened.wait(SECONDS)
        self.written.append(data)

    def close(self) -> None:
        self.closed = True


def test_lines_arrive_whole_and_in_order(tmp_path: Path) -> None:
    path = tmp_path / "log"
    with path.open("wb") as file:
        writer = LineWriter("test", Descriptor(file.fileno()))
        for number in range(5_000):
            writer.write(b"line %d\n" % number)
        writer.close(SECONDS)
    assert path.read_bytes() == b"".join(b"line %d\n" % number for number in range(5_000))
    assert writer.dropped == 0


def test_a_slow_sink_never_holds_the_writer_up_and_what_finds_no_room_is_counted() -> None:
    gate = Gate()
    writer = LineWriter("test", gate, bytes_max=100)
    writer.write(b"0" * 9 + b"\n")
    assert gate.called.wait(SECONDS)
    for number in range(1, 20):
        writer.write(b"%d" % (number % 10) * 9 + b"\n")
    assert writer.dropped == 10
    gate.opened.set()
    assert writer.wait_written(SECONDS)
    writer.write(b"after\n")
    writer.close(SECONDS)
    assert b"".join(gate.written).count(b"\n") == 11
    assert gate.written[-1].endswith(b"after\n")
    assert gate.closed
    writer.write(b"too late\n")
    assert writer.dropped == 11


def test_a_sink_that_hangs_does_not_hold_the_end_up() -> None:
    gate = Gate()
    writer = LineWriter("test", gate)
    writer.write(b"x\n")
    assert gate.called.wait(SECONDS)
    writer.close(0.01)
    gate.opened.set()


@pytest.mark.parametrize(
    ("broken", "why"),
    [
        (lambda tmp_path: Path("/dev/full"), "No space left on device"),
        (lambda tmp_path: tmp_path / "file" / "below", "Not a directory"),
    ],
)
def test_a_full_disk_costs_lines_and_says_so_once(tmp_path: Path, broken: Callable[[Path], Path], why: str) -> None:
    (tmp_path / "file").write_text("")
    troubles: list[str] = []
    writer = LineWriter("test", RotatingFile(broken(tmp_path)), on_trouble=troubles.append)
    for _ in range(3):
        writer.write(b"one\ntwo\n")
        assert writer.wait_written(SECONDS)
    writer.close(SECONDS)
    assert writer.dropped == 6
    assert troubles == [f"cannot write log test: {why}; its lines are dropped and counted until that changes"]


def test_when_there_is_room_again_lines_are_written_again(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.symlink_to("/dev/full")
    writer = LineWriter("test", RotatingFile(path))
    writer.write(b"lost\n")
    assert writer.wait_written(SECONDS)
    path.unlink()
    writer.write(b"kept\n")
    writer.close(SECONDS)
    assert path.read_bytes() == b"kept\n"
    assert writer.dropped == 1
