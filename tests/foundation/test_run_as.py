"""Processes are who they are told to be, under each event loop that programs use."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest

from flambeau.foundation.processes import start_detached
from flambeau.foundation.run_as import US, RunAs, run_as_of

USER = 54321
only_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root may start processes as somebody else")
only_linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells of a process as whom it runs, and has no_new_privs")


async def started(run_as: RunAs, folder: Path) -> RunAs:
    """Return as whom a process says that it runs."""
    child, record = start_detached(["/bin/sleep", "60"], environment={}, directory=folder, log=folder / "log", run_as=run_as)
    try:
        return run_as_of(record.pid)
    finally:
        child.kill()
        await asyncio.to_thread(child.wait, 10)


@only_root
@only_linux
@pytest.mark.parametrize("run_as", [RunAs(USER, 61), RunAs(USER, 61, (62, 63), no_new_privileges=True), RunAs(0, 0, (7,))])
async def test_a_process_is_who_it_was_started_as(tmp_path: Path, run_as: RunAs) -> None:
    assert await started(run_as, tmp_path) == run_as


@only_linux
async def test_nothing_said_is_us(tmp_path: Path) -> None:
    assert run_as_of(os.getpid()) == await started(US, tmp_path) == US
    assert US.options() == {}
    assert await started(RunAs(no_new_privileges=True), tmp_path) == RunAs(no_new_privileges=True)


UNDER_UVLOOP = f"""
import asyncio, sys, uvloop
from flambeau.foundation.run_as import RunAs
async def main():
    process = await asyncio.create_subprocess_exec("id", stdout=asyncio.subprocess.PIPE, **RunAs({USER}, 61, (62,), True).options())
    print((await process.communicate())[0].decode())
uvloop.run(main())
"""


@only_root
@only_linux
def test_it_is_so_under_uvloop_too() -> None:
    ran = subprocess.run([sys.executable, "-c", UNDER_UVLOOP], capture_output=True, text=True, timeout=60, check=True)
    assert ran.stdout.split()[0].startswith(f"uid={USER}")
    assert "gid=61" in ran.stdout
    assert "groups=61,62" in ran.stdout


def test_what_is_on_the_way_and_closed_is_found(tmp_path: Path) -> None:
    program = tmp_path / "open" / "closed" / "program"
    program.parent.mkdir(parents=True)
    program.write_text("")
    program.chmod(0o755)
    (tmp_path / "link").symlink_to(program)
    program.parent.chmod(0o750)
    somebody = RunAs(USER, 61)
    assert not somebody.may_pass(program.parent)
    assert RunAs(USER, program.parent.stat().st_gid).may_pass(program.parent)
    assert RunAs(USER, 61, (program.parent.stat().st_gid,)).may_pass(program.parent)
    assert US.barrier_to(program) is RunAs(0).barrier_to(program) is None
    closed = [each for each in (*reversed(program.parents), program) if not somebody.may_pass(each)]  # pytest's own folders may be
    assert closed[-1] == program.parent
    assert somebody.barrier_to(program) == somebody.barrier_to(tmp_path / "link") == closed[0]
    program.chmod(0o644)
    assert not somebody.may_pass(program)
