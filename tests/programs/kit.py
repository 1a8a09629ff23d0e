"""A model server as its users start it: a process of its own, with its output in files."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from tests.fixtures.waiting import until

CONFIG = """\
inference_address=http://127.0.0.1:0
management_address=http://127.0.0.1:0
metrics_address=http://127.0.0.1:0
grpc_inference_port=
grpc_management_port=
default_workers_per_model=1
disable_token_authorization=true
"""
"""All doors on one listener, on a port that the kernel chooses; no gRPC."""


@dataclass
class Served:
    """A running server."""

    process: subprocess.Popen[bytes]
    out: Path
    err: Path
    temporary: Path
    """Its TMPDIR: empty again when it has ended well."""

    @property
    def urls(self) -> list[str]:
        """Addresses of its doors, in the order in which they were opened."""
        return re.findall(r'door open(?: address=|","address":")([^\s"]+)', self.err.read_text())

    @property
    def url(self) -> str:
        """Its only door."""
        [url] = self.urls
        return url

    def family(self) -> list[psutil.Process]:
        """Return the server and every process it has started."""
        own = psutil.Process(self.process.pid)
        return [own, *own.children(recursive=True)]

    async def ended(self) -> int:
        """Wait for its end and return its status."""
        await until(lambda: self.process.poll() is not None)
        return self.process.returncode


def start(
    root: Path,
    arguments: Sequence[str],
    *,
    config: str | None = CONFIG,
    environment: Mapping[str, str] | None = None,
    word: str = "serve",
) -> Served:
    """Start a server; it may not be up yet."""
    temporary = root / "tmp"
    temporary.mkdir(exist_ok=True)
    if config is not None:
        (root / "config.properties").write_text(config)
    out, err = root / "out", root / "err"
    with out.open("wb") as stdout, err.open("wb") as stderr:
        process = subprocess.Popen(
            [sys.executable, "-m", "flambeau", word, *arguments],
            cwd=root,
            env={**os.environ, "TMPDIR": str(temporary), **(environment or {})},
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
        )
    return Served(process, out, err, temporary)


@contextlib.asynccontextmanager
async def serving(
    root: Path,
    arguments: Sequence[str],
    *,
    config: str | None = CONFIG,
    environment: Mapping[str, str] | None = None,
    word: str = "serve",
) -> AsyncIterator[Served]:
    """Start a server, wait until its doors are open, and end it in any case."""
    served = start(root, arguments, config=config, environment=environment, word=word)
    try:
        # The log is written by a thread of its own, and its lines about the doors may come after the word on standard output.
        await until(lambda: ("Model server started." in served.out.read_text() and served.urls) or served.process.poll() is not None)
        assert served.process.poll() is None, served.err.read_text()
        yield served
    finally:
        if served.process.poll() is None:
            served.process.send_signal(signal.SIGKILL)
            served.process.wait()


def alive(processes: Sequence[psutil.Process]) -> list[psutil.Process]:
    """Return those that still run."""
    return [process for process in processes if process.is_running() and process.status() != psutil.STATUS_ZOMBIE]
