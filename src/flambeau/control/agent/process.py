"""The process groups of pods: how they end, who belongs to them, and ending them for good.

A group's leader is known by pid, start time and token (``foundation.processes``). Its end is an event (a pidfd), for our own children
and for adopted processes alike; only a child's exit status can be known.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import psutil

from flambeau.foundation.processes import TOKEN_VARIABLE, ProcessRecord

TERMINATION_LOG_VARIABLE = "FLAMBEAU_TERMINATION_LOG"
"""Stands in every pod's environment and leads into the pod's directory: how its processes are known when all else is lost."""
STRANGER_GRACE_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Ending:
    """How a leader ended; both None: it wasn't our child."""

    code: int | None
    signal: int | None


class Leader:
    """Watch one leader to its end.

    Args:
        record: how it is known.
        child: the handle, where it is our own child.
    """

    def __init__(self, record: ProcessRecord, child: subprocess.Popen[bytes] | None) -> None:
        self.record = record
        self._child = child

    async def ended(self) -> Ending:
        """Wait until the leader has ended; end what is left of its group; say how it ended.

        Cancel: the process goes on, unwatched.
        """
        await _pid_ended(self.record.pid)
        # While the dead leader is not reaped its pid can't be somebody else's, and neither can its group.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.record.pid, signal.SIGKILL)
        if self._child is None:
            return Ending(None, None)
        code = self._child.wait()
        return Ending(None, -code) if code < 0 else Ending(code, None)

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the whole group, if its leader still is who we think."""
        self.record.signal(number)

    def kill(self) -> None:
        """Kill the whole group, and wait for its leader where it is our child."""
        self.signal(signal.SIGKILL)
        if self._child is not None:
            self._child.wait()


async def _pid_ended(pid: int) -> None:
    """Wait for a process's end; at once if there is no such process."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    loop.add_reader(descriptor, ended.set)
    try:
        await ended.wait()
    finally:
        loop.remove_reader(descriptor)
        os.close(descriptor)


def end_strangers(pods: Path, known: Collection[str]) -> list[int]:
    """Stop every process that was started for a pod under a directory and that nobody knows any more.

    These are pods deleted while no agent was there, workers whose server died meanwhile, and what an agent started in the instant in
    which it was killed. SIGTERM, a grace, SIGKILL. Blocks: looks at every process of the machine; run it in a thread.

    Args:
        pods: the directory of the pods' directories.
        known: tokens of the groups that are to live.

    Returns:
        the pids that were stopped.
    """
    strangers = [process for process in psutil.process_iter() if _is_stranger(process, pods, known)]
    for process in strangers:
        with contextlib.suppress(psutil.Error):
            process.terminate()
    _, alive = psutil.wait_procs(strangers, timeout=STRANGER_GRACE_SECONDS)
    for process in alive:
        with contextlib.suppress(psutil.Error):
            process.kill()
    psutil.wait_procs(alive, timeout=STRANGER_GRACE_SECONDS)
    return [process.pid for process in strangers]


def _is_stranger(process: psutil.Process, pods: Path, known: Collection[str]) -> bool:
    try:
        environment = process.environ()
    except psutil.Error:
        return False
    is_pod = Path(environment.get(TERMINATION_LOG_VARIABLE, "/")).is_relative_to(pods)
    return is_pod and environment.get(TOKEN_VARIABLE) not in known


def describe(ending: Ending) -> str:
    """Return in words how a process ended."""
    if ending.signal is not None:
        name = signal.Signals(ending.signal).name if ending.signal in signal.valid_signals() else f"signal {ending.signal}"
        return f"was killed by {name}"
    if ending.code is not None:
        return f"exited with status {ending.code}"
    return "ended; it was started by an earlier control plane, so its exit status is unknown"
