"""Commands beside a pod's process: its environment, directory and user, another program. They end with whoever asked for them."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import pty
import shutil
import signal
import struct
import sys
import termios
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil

from flambeau.control.agent.directory import PodDirectory, directories
from flambeau.control.resources.pod_contract import INITIALIZER_CONTAINER, PROXY_CONTAINER
from flambeau.foundation.errors import NotFound, NotReady, Unavailable
from flambeau.foundation.run_as import RunAs, run_as_of

_READ_BYTES_MAX = 32 * 1024
_KILL_SECONDS_MAX = 5.0
_WITH_TERMINAL = "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); os.execvp(sys.argv[1], sys.argv[1:])"
"""Makes the standard input the session's terminal, as shells need it, then becomes the command."""


class RunningCommand:
    """A command, its streams and its end.

    Args:
        process: leader of a session of its own.
        terminal: our side of its terminal, or None where its streams are pipes.
    """

    def __init__(self, process: asyncio.subprocess.Process, terminal: int | None) -> None:
        self._process = process
        self._terminal = terminal

    async def output(self, name: str) -> AsyncIterator[bytes]:
        """Yield what it writes to ``stdout`` or ``stderr``, until that is closed."""
        if self._terminal is not None:
            while piece := await _read_terminal(self._terminal):
                yield piece
            return
        reader = self._process.stdout if name == "stdout" else self._process.stderr
        assert reader is not None
        while piece := await reader.read(_READ_BYTES_MAX):
            yield piece

    async def write(self, data: bytes) -> None:
        """Give it input; an empty piece is the end of it."""
        if self._terminal is not None:
            if data:
                with contextlib.suppress(OSError):
                    await asyncio.to_thread(os.write, self._terminal, data)
            return
        writer = self._process.stdin
        assert writer is not None
        with contextlib.suppress(ConnectionError):
            if data:
                writer.write(data)
                await writer.drain()
            else:
                writer.close()

    def resize(self, columns: int, rows: int) -> None:
        """Say how large its terminal is."""
        if self._terminal is not None:
            fcntl.ioctl(self._terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    async def ended(self) -> int:
        """Wait for its exit status; negative for a signal."""
        return await self._process.wait()

    async def end(self) -> None:
        """Kill what is left of its session, and wait for it."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._process.wait(), _KILL_SECONDS_MAX)
        if self._process.stdin is not None:
            self._process.stdin.close()
        if self._terminal is not None:
            os.close(self._terminal)
            self._terminal = None


async def _read_terminal(terminal: int) -> bytes:
    """Return what a terminal shows next; empty when nobody writes to it any more."""
    loop = asyncio.get_running_loop()
    readable = asyncio.Event()
    loop.add_reader(terminal, readable.set)
    try:
        await readable.wait()
        return os.read(terminal, _READ_BYTES_MAX)
    except OSError:  # Linux says EIO when the last writer is gone
        return b""
    finally:
        loop.remove_reader(terminal)


class PodCommands:
    """Start commands beside pods.

    Args:
        home: the platform's directory.
    """

    def __init__(self, home: Path) -> None:
        self._pods = home / "pods"

    async def start(self, namespace: str, pod: str, container: str, command: list[str], *, terminal: bool) -> RunningCommand:
        """Start a command with a container's environment, in its directory.

        Raises:
            NotFound: no such program, or the container has no process.
            NotReady: the container doesn't run.
            Unavailable: the system refused.
        """
        if container in (PROXY_CONTAINER, INITIALIZER_CONTAINER):  # the agent does their work
            raise NotFound(f"container {container} has no process of its own on this machine", hint="leave out -c")
        directory = next((each for each in directories(self._pods) if each.id[:2] == (namespace, pod)), None)
        inside = inside_of(directory, container) if directory is not None else None
        if inside is None:
            raise NotReady(f"container {container} of pod {pod} isn't running")
        program = shutil.which(command[0], path=inside.environment.get("PATH"))
        if program is None:
            raise NotFound(f"cannot run {command[0]}: there is no such program on this machine")
        try:
            return await _start([program, *command[1:]], inside, terminal)
        except OSError as error:
            raise Unavailable(f"cannot run {command[0]}: {error.strerror or error}") from error


@dataclass(frozen=True, slots=True)
class Inside:
    """What a command needs to run beside a container's process, as its like."""

    environment: Mapping[str, str]
    directory: Path
    run_as: RunAs


def inside_of(directory: PodDirectory, container: str) -> Inside | None:
    """Return what a container's process has; None where there is no process."""
    record = directory.record(container)
    if record is None or not record.is_alive():
        return None
    try:
        return Inside(psutil.Process(record.pid).environ(), directory.work, run_as_of(record.pid))
    except (psutil.Error, OSError):
        return None


async def _start(command: list[str], inside: Inside, terminal: bool) -> RunningCommand:
    if not terminal:
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=pipe,
            stdout=pipe,
            stderr=pipe,
            cwd=inside.directory,
            env=dict(inside.environment),
            start_new_session=True,
            **inside.run_as.options(),
        )
        return RunningCommand(process, None)
    ours, theirs = pty.openpty()
    try:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-S", "-c", _WITH_TERMINAL, *command),
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            cwd=inside.directory,
            env={"TERM": "xterm", **inside.environment},
            start_new_session=True,
            **inside.run_as.options(),
        )
    except BaseException:
        os.close(ours)
        raise
    finally:
        os.close(theirs)
    return RunningCommand(process, ours)
