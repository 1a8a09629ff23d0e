"""What every side has: a way to start it with a workload, and the request that its clients send."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import psutil

from benchmarks.archives import ROOT, Workload
from benchmarks.load import Request

PEERS = ROOT / ".peers"
START_SECONDS_MAX = 90.0
STOP_SECONDS_MAX = 20.0


@dataclass(frozen=True)
class Deployment:
    """What a side is asked to serve."""

    workload: Workload
    batch: int = 1
    delay_ms: int = 5
    """How long a batch may wait for company."""
    workers: int = 1
    queue: int = 1000
    """How many requests may wait, where the side takes TorchServe's settings."""


@dataclass
class Running:
    """A side that serves."""

    name: str
    request: Request
    """As the side's clients send it."""
    v1: Request | None = None
    """The same in KServe's V1 form, where the side takes both."""
    grpc_port: int = 0
    """0: it speaks no gRPC, or not with the protocol that the benchmarks know."""
    metrics_url: str = ""
    """Of its Prometheus page, where the benchmarks read it."""
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)
    seconds_to_answer: float = 0.0
    """From the start of the process to the first right answer."""
    answer: bytes = b""

    def tree(self) -> list[psutil.Process]:
        """Return every process of it."""
        found = []
        for each in self.processes:
            with contextlib.suppress(psutil.NoSuchProcess):
                top = psutil.Process(each.pid)
                found += [top, *top.children(recursive=True)]
        return found

    def pss_mb(self) -> float:
        """Return the proportional share of memory of all its processes, in MB."""
        total = 0
        for process in self.tree():
            with contextlib.suppress(psutil.NoSuchProcess):
                total += process.memory_full_info().pss
        return total / 1e6


class Side(Protocol):
    """One of the servers that are compared."""

    @property
    def name(self) -> str:
        """As the tables say it."""

    @property
    def batches(self) -> bool:
        """Whether it can answer requests in batches."""

    def missing(self) -> str | None:
        """Return what must be installed first; None if nothing."""

    def start(self, deployment: Deployment, folder: Path) -> Running:
        """Start it in a folder of its own; it need not be ready."""


@contextlib.contextmanager
def serving(side: Side, deployment: Deployment) -> Iterator[Running]:
    """Serve until the block ends; the first right answer has come when it begins.

    Raises:
        RuntimeError: there was no answer in time; the text has the end of the side's output.
    """
    folder = Path(tempfile.mkdtemp(prefix="fb-"))
    running: Running | None = None
    try:
        began = time.monotonic()
        running = side.start(deployment, folder)
        running.answer = _first_answer(running, began, folder)
        running.seconds_to_answer = time.monotonic() - began
        yield running
    finally:
        for process in running.processes if running else []:
            stop(process)
        shutil.rmtree(folder, ignore_errors=True)


def run(command: Sequence[str | Path], folder: Path, environment: Mapping[str, str] | None = None) -> subprocess.Popen[bytes]:
    """Start one process of a side in a session of its own; its output goes to ``output.txt`` in the folder."""
    with open(folder / "output.txt", "ab") as output:
        return subprocess.Popen(
            [str(each) for each in command],
            cwd=folder,
            env=environment_for(folder) | dict(environment or {}),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def environment_for(folder: Path) -> dict[str, str]:
    """Return the environment that all sides share: one torch thread, temporary files below the folder."""
    kept = {key: os.environ[key] for key in ("HOME", "LANG", "JAVA_HOME", "PATH") if key in os.environ}
    temporary = folder / "tmp"
    temporary.mkdir(exist_ok=True)
    return kept | {"OMP_NUM_THREADS": "1", "TMPDIR": str(temporary), "TEMP": str(temporary), "PYTHONPATH": str(ROOT)}


def free_ports(count: int) -> list[int]:
    """Return ports that nobody listens on now."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def listens(port: int) -> bool:
    """Tell whether somebody takes connections on a port."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _first_answer(running: Running, began: float, folder: Path) -> bytes:
    while True:
        try:
            return running.request.once(seconds=30)
        except OSError as error:
            ended = [process for process in running.processes if process.poll() is not None]
            if ended or time.monotonic() - began > START_SECONDS_MAX:
                output = (folder / "output.txt").read_text(errors="replace")[-3000:]
                raise RuntimeError(f"{running.name} gave no answer ({error}):\n{output}") from error
        time.sleep(0.01)


def stop(process: subprocess.Popen[bytes]) -> None:
    """End a process and whatever it left in its session's group."""
    children = psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
    process.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(STOP_SECONDS_MAX)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    for child in children:
        with contextlib.suppress(psutil.NoSuchProcess):
            child.kill()  # psutil knows it by its start time too
    process.wait(STOP_SECONDS_MAX)
