"""A started process is known again by pid, start time and token, and by nothing less."""

import dataclasses
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from flambeau.foundation.processes import ProcessRecord, start_detached


@pytest.fixture
def sleeper(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[bytes], ProcessRecord]]:
    process, record = start_detached(
        [sys.executable, "-c", "import time; print('up', flush=True); time.sleep(60)"],
        environment=dict(os.environ),
        directory=tmp_path,
        log=tmp_path / "log",
    )
    deadline = time.monotonic() + 10
    while not (tmp_path / "log").read_bytes() and time.monotonic() < deadline:
        time.sleep(0.01)  # within exec it has no environment yet, and its token can't be told from another
    yield process, record
    process.kill()
    process.wait(10)


def test_a_record_survives_its_file(sleeper: tuple[subprocess.Popen[bytes], ProcessRecord], tmp_path: Path) -> None:
    _, record = sleeper
    record.save(tmp_path / "process.json")
    assert ProcessRecord.load(tmp_path / "process.json") == record
    assert record.is_alive()
    assert (tmp_path / "process.json").stat().st_mode & 0o777 == 0o600


def test_another_process_with_the_pid_is_not_taken_for_it(sleeper: tuple[subprocess.Popen[bytes], ProcessRecord]) -> None:
    process, record = sleeper
    assert not dataclasses.replace(record, token="another").is_alive()
    assert not dataclasses.replace(record, start_time=record.start_time - 100).is_alive()
    assert not dataclasses.replace(record, token="another").signal(signal.SIGKILL)
    assert process.poll() is None


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process's start by the clock that never jumps")
def test_a_process_is_the_same_after_the_wall_clock_was_set(sleeper: tuple[subprocess.Popen[bytes], ProcessRecord]) -> None:
    _, record = sleeper
    assert 0 <= time.clock_gettime(time.CLOCK_BOOTTIME) - record.start_time < 60


def test_a_signal_reaches_the_group(sleeper: tuple[subprocess.Popen[bytes], ProcessRecord]) -> None:
    process, record = sleeper
    assert record.signal(signal.SIGTERM)
    assert process.wait(10) == -signal.SIGTERM
    assert not record.is_alive()
    assert not record.signal(signal.SIGTERM)


@pytest.mark.parametrize("content", [b"", b"{}", b"[1]", b'{"pid": "x", "start_time": 1, "token": "t"}'])
def test_a_broken_file_is_no_record(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "process.json"
    path.write_bytes(content)
    assert ProcessRecord.load(path) is None
    assert ProcessRecord.load(tmp_path / "absent") is None
