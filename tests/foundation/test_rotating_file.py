from __future__ import annotations

import gzip
import os
import time
from pathlib import Path

import pytest

from flambeau.foundation.rotating_file import RotatingFile

DAY = 86_400.0


class Clock:
    def __init__(self) -> None:
        self.now = time.time()

    def __call__(self) -> float:
        return self.now


def day(seconds: float) -> str:
    return time.strftime("%d-%b", time.localtime(seconds))


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def test_a_file_and_its_directory_come_with_the_first_line(tmp_path: Path) -> None:
    log = RotatingFile(tmp_path / "deep" / "logs" / "a.log")
    assert names(tmp_path) == []
    log.write(b"1\n")
    log.close()
    log.write(b"2\n")
    log.close()
    assert (tmp_path / "deep" / "logs" / "a.log").read_bytes() == b"1\n2\n"


def test_a_full_file_is_set_aside_compressed(tmp_path: Path) -> None:
    clock = Clock()
    log = RotatingFile(tmp_path / "a.log", bytes_max=10, now=clock)
    for number in range(3):
        log.write(b"line %d..\n" % number)
    log.close()
    today = day(clock.now)
    assert names(tmp_path) == [f"a.{today}.1.log.gz", f"a.{today}.log.gz", "a.log"]
    assert gzip.decompress((tmp_path / f"a.{today}.log.gz").read_bytes()) == b"line 0..\n"
    assert gzip.decompress((tmp_path / f"a.{today}.1.log.gz").read_bytes()) == b"line 1..\n"
    assert (tmp_path / "a.log").read_bytes() == b"line 2..\n"


def test_a_day_ends_a_file_and_only_so_many_stay(tmp_path: Path) -> None:
    clock = Clock()
    begun = clock.now
    log = RotatingFile(tmp_path / "a.log", kept=2, now=clock)
    (tmp_path / "b.01-Jan.log.gz").write_bytes(b"another log's")
    (tmp_path / "a.notes.log").write_bytes(b"somebody's")
    for number in range(5):
        log.write(b"day %d\n" % number)
        stamp = clock.now
        os.utime(tmp_path / "a.log", (stamp, stamp))
        clock.now += DAY
    log.close()
    kept = [f"a.{day(begun + 2 * DAY)}.log.gz", f"a.{day(begun + 3 * DAY)}.log.gz"]
    assert names(tmp_path) == sorted([*kept, "a.log", "a.notes.log", "b.01-Jan.log.gz"])


def test_yesterdays_file_of_an_earlier_server_is_set_aside(tmp_path: Path) -> None:
    yesterday = time.time() - DAY
    (tmp_path / "a.log").write_bytes(b"old\n")
    os.utime(tmp_path / "a.log", (yesterday, yesterday))
    (tmp_path / "a.02-Feb.log").write_bytes(b"left by a server that was killed while it compressed\n")
    log = RotatingFile(tmp_path / "a.log")
    log.write(b"new\n")
    log.close()
    assert names(tmp_path) == sorted(["a.02-Feb.log.gz", f"a.{day(yesterday)}.log.gz", "a.log"])
    assert (tmp_path / "a.log").read_bytes() == b"new\n"


def test_a_file_that_was_moved_away_is_begun_again(tmp_path: Path) -> None:
    log = RotatingFile(tmp_path / "a.log")
    log.write(b"1\n")
    (tmp_path / "a.log").rename(tmp_path / "moved")
    log.write(b"2\n")
    log.close()
    assert (tmp_path / "moved").read_bytes() == b"1\n"
    assert (tmp_path / "a.log").read_bytes() == b"2\n"


def test_a_device_is_never_set_aside(tmp_path: Path) -> None:
    (tmp_path / "a.log").symlink_to("/dev/null")
    log = RotatingFile(tmp_path / "a.log", bytes_max=4)
    log.write(b"12345\n")
    log.write(b"12345\n")
    log.close()
    assert names(tmp_path) == ["a.log"]


def test_a_directory_that_cannot_be_made_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="Not a directory"):
        RotatingFile(tmp_path / "file" / "a.log").write(b"1\n")
