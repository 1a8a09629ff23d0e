"""A started process is known again by pid, start time and token, and by nothing less."""

import asyncio
import dataclasses
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from flambeau.foundation.processes import OUTPUT_BYTES_MAX, Finished, ProcessRecord, run_to_end, start_detached


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


def script(code: str) -> list[str]:
    return [sys.executable, "-c", code]


async def test_a_command_tells_how_it_ended_and_what_it_printed() -> None:
    code = "import os, sys; print('one'); print(os.environ['WORD'], file=sys.stderr); sys.exit(3)"
    ended = await run_to_end(script(code), environment={**os.environ, "WORD": "two"}, seconds_max=30)
    assert ended == Finished(3, "one\n", "two\n")


async def test_both_outputs_are_appended_to_a_log(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_bytes(b"before\n")
    code = "import os, sys; print(os.getcwd(), flush=True); print('two', file=sys.stderr)"
    ended = await run_to_end(script(code), environment=os.environ, seconds_max=30, directory=tmp_path, log=log)
    assert (ended, log.read_text()) == (Finished(0), f"before\n{tmp_path}\ntwo\n")


async def test_what_a_command_prints_is_bounded() -> None:
    ended = await run_to_end(script(f"print('x' * {2 * OUTPUT_BYTES_MAX})"), environment=os.environ, seconds_max=30)
    assert (ended.code, len(ended.output)) == (0, OUTPUT_BYTES_MAX)


_STARTS_ANOTHER = """
import pathlib, subprocess, sys
other = subprocess.Popen(["sleep", "60"])
pathlib.Path(sys.argv[1] + ".new").write_text(str(other.pid))
pathlib.Path(sys.argv[1] + ".new").rename(sys.argv[1])
other.wait()
"""


async def test_a_command_that_is_cancelled_ends_with_whatever_it_started(tmp_path: Path) -> None:
    note = tmp_path / "pid"
    running = asyncio.create_task(run_to_end([*script(_STARTS_ANOTHER), str(note)], environment=os.environ, seconds_max=60))
    async with asyncio.timeout(20):
        while not note.exists():  # noqa: ASYNC110 - another process writes it
            await asyncio.sleep(0.01)
    other = psutil.Process(int(note.read_text()))
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    await asyncio.to_thread(psutil.wait_procs, [other], 10)
    assert not other.is_running() or other.status() == psutil.STATUS_ZOMBIE


async def test_a_command_that_is_too_slow_is_killed() -> None:
    with pytest.raises(TimeoutError):
        await run_to_end(["sleep", "60"], environment=os.environ, seconds_max=0.05)


async def test_a_command_that_is_not_there_is_an_error() -> None:
    with pytest.raises(FileNotFoundError):
        await run_to_end(["/nonexistent/command"], environment={}, seconds_max=1)
