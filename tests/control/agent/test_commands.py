"""Commands beside a pod's process."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from flambeau.control.agent.commands import PodCommands, RunningCommand
from flambeau.control.agent.directory import PodDirectory, PodId
from flambeau.foundation.errors import NotReady
from flambeau.foundation.processes import start_detached

SECONDS_MAX = 20.0


async def all_output(command: RunningCommand) -> bytes:
    async with asyncio.timeout(SECONDS_MAX):
        return b"".join([piece async for piece in command.output("stdout")])


async def test_a_terminal_is_one_with_a_size(tmp_path: Path) -> None:
    directory = PodDirectory(tmp_path / "pods", PodId("ns", "pod", "uid"))
    directory.create()
    environment = {"PATH": os.environ["PATH"]}
    process, record = start_detached(["sleep", "600"], environment=environment, directory=directory.work, log=directory.path / "log")
    directory.write_record("server", record)
    try:
        commands = PodCommands(tmp_path)
        command = await commands.start("ns", "pod", "server", ["sh", "-c", "read word; stty size; echo said $word"], terminal=True)
        command.resize(123, 45)
        await command.write(b"hello\n")
        said = await all_output(command)
        assert await asyncio.wait_for(command.ended(), SECONDS_MAX) == 0
        await command.end()
        assert b"45 123" in said
        assert b"said hello" in said
    finally:
        process.kill()
        process.wait()


async def test_a_pod_without_a_process_runs_nothing(tmp_path: Path) -> None:
    with pytest.raises(NotReady, match="isn't running"):
        await PodCommands(tmp_path).start("ns", "pod", "server", ["true"], terminal=False)
