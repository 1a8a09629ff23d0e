"""Processes that outlive the one who started them, and how to know them again.

A process is known by its pid, its start time and a token in its environment: a pid alone may belong to somebody else by now. Used by
the agent for pods and by ``up`` for the gateway. And commands that are run to their end (``run_to_end``).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import orjson
import psutil

from flambeau.foundation.files import write_atomically
from flambeau.foundation.run_as import US, RunAs

TOKEN_VARIABLE = "FLAMBEAU_PROCESS_TOKEN"  # noqa: S105 - a name, not a secret
OUTPUT_BYTES_MAX = 1 << 20
"""Of each output of a command, kept; more is read and dropped."""
EXEC_SECONDS_MAX = 0.05
"""For a started process to show its environment."""
_BLOCK_BYTES = 65536


@dataclass(frozen=True, slots=True)
class ProcessRecord:
    """What is written down about a started process group."""

    pid: int
    """Leader of a process group of its own (pgid == pid)."""
    start_time: float
    """Seconds since the machine's boot. By the wall clock every process would look like another one after that was set."""
    token: str
    """Random; stands in the process's environment as FLAMBEAU_PROCESS_TOKEN."""

    def save(self, path: Path) -> None:
        """Write the record, 0600."""
        write_atomically(path, orjson.dumps(asdict(self)), mode=0o600, synced=False)

    @classmethod
    def load(cls, path: Path) -> ProcessRecord | None:
        """Read a record; None if there is none or it isn't one."""
        try:
            fields = orjson.loads(path.read_bytes())
            return cls(pid=int(fields["pid"]), start_time=float(fields["start_time"]), token=str(fields["token"]))
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def is_alive(self) -> bool:
        """Tell whether this very process still runs (a zombie does not)."""
        try:
            process = psutil.Process(self.pid)
            if process.status() == psutil.STATUS_ZOMBIE or abs(_start_time(self.pid) - self.start_time) > 1.0:
                return False
            environment = process.environ()
            # For a moment within exec the kernel shows none; then pid and start time have to do.
            return not environment or environment.get(TOKEN_VARIABLE) == self.token
        except (psutil.Error, OSError):
            return False

    def signal(self, number: signal.Signals) -> bool:
        """Send a signal to the whole group, if the leader is still this very process.

        Returns:
            whether it was sent.
        """
        if not self.is_alive():
            return False
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, number)
            return True
        return False


def start_detached(
    command: Sequence[str], *, environment: Mapping[str, str], directory: Path, log: Path, run_as: RunAs = US
) -> tuple[subprocess.Popen[bytes], ProcessRecord]:
    """Start a process group that survives us, its output appended to a file.

    Args:
        command: an argument vector; no shell.
        environment: the whole environment; the token is added.
        directory: working directory.
        log: both outputs go there, opened for append (so that truncating it is safe).
        run_as: who it is.

    Raises:
        OSError: the program cannot be started.
    """
    token = secrets.token_hex(16)
    with log.open("ab") as output:
        process = subprocess.Popen(
            list(command),
            env={**environment, TOKEN_VARIABLE: token},
            cwd=directory,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            **run_as.options(),
        )
    try:
        start_time = _start_time(process.pid)
    except (psutil.Error, OSError):
        start_time = 0.0  # it has ended already; the caller's wait() tells how
    _await_environment(process.pid)
    return process, ProcessRecord(pid=process.pid, start_time=start_time, token=token)


def _await_environment(pid: int) -> None:
    """Wait, some microseconds as a rule, until a process within exec shows its environment: what runs beside it takes it from there."""
    deadline = time.monotonic() + EXEC_SECONDS_MAX
    with contextlib.suppress(OSError):  # it has ended, or the system shows none
        while not Path(f"/proc/{pid}/environ").read_bytes() and time.monotonic() < deadline:
            if _fields(pid)[0] == b"Z":
                return
            time.sleep(0.0005)


@dataclass(frozen=True, slots=True)
class Finished:
    """How a command ended, and what it printed."""

    code: int
    """Negative for a signal."""
    output: str = ""
    errors: str = ""


async def run_to_end(
    command: Sequence[str], *, environment: Mapping[str, str], seconds_max: float, directory: Path | None = None, log: Path | None = None
) -> Finished:
    """Run a command to its end; whatever it started ends with it.

    Args:
        command: an argument vector; no shell.
        environment: the whole environment.
        seconds_max: how long it may take.
        directory: working directory; None for ours.
        log: both outputs are appended to it; None: they are returned, each up to OUTPUT_BYTES_MAX.

    Raises:
        OSError: the program cannot be started.
        TimeoutError: it did not end in time, and was killed.

    Cancel: it is killed.
    """
    with contextlib.ExitStack() as files:
        output = asyncio.subprocess.PIPE if log is None else files.enter_context(log.open("ab"))
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            cwd=directory,
            env=dict(environment),
            start_new_session=True,
        )
    try:
        async with asyncio.timeout(seconds_max):
            printed = await asyncio.gather(_bounded(process.stdout), _bounded(process.stderr))
            code = await process.wait()
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
    return Finished(code, *printed)


async def _bounded(stream: asyncio.StreamReader | None) -> str:
    kept = b""
    while stream is not None and (block := await stream.read(_BLOCK_BYTES)):
        kept += block[: OUTPUT_BYTES_MAX - len(kept)]
    return kept.decode(errors="replace")


def _start_time(pid: int) -> float:
    """Return when a process started, in seconds since the boot; where the system keeps no such time, since the epoch.

    Raises:
        OSError: there is no such process.
        psutil.Error: the same.
    """
    if sys.platform != "linux":
        return psutil.Process(pid).create_time()
    return int(_fields(pid)[19]) / os.sysconf("SC_CLK_TCK")  # the 22nd of all is the start in clock ticks


def _fields(pid: int) -> list[bytes]:
    """Return what Linux says of a process, from its state on; the program's name before that may contain spaces and brackets."""
    return Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
