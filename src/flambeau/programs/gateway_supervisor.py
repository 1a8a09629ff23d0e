"""Keep one gateway process running, and know it again after the control plane was killed.

The gateway is a session of its own: kill -9 of the control plane leaves it serving, and the next ``up`` adopts it by the record it
finds (pid, start time, token). One that listens elsewhere than asked is replaced.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import orjson

from flambeau.foundation.errors import Unavailable
from flambeau.foundation.files import write_atomically
from flambeau.foundation.processes import ProcessRecord, start_detached
from flambeau.foundation.tasks import TaskOwner

_log = logging.getLogger(__name__)

START_SECONDS_MAX = 20.0
DRAIN_SECONDS_MAX = 35.0
RESTART_SECONDS_MAX = 5.0
LOG_TAIL_BYTES = 2000
_POLL_SECONDS = 0.02


@dataclass(frozen=True, slots=True)
class GatewayTls:
    """The files of a certificate, both PEM."""

    certificate: Path
    key: Path


@dataclass(frozen=True, slots=True)
class GatewayAddress:
    """Where and how the gateway listens."""

    host: str
    port: int
    tls: GatewayTls | None = None
    """None: in plain text."""

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"

    @property
    def scheme(self) -> str:
        """Return what its URLs begin with."""
        return "http" if self.tls is None else "https"

    @property
    def flags(self) -> list[str]:
        """Return the arguments by which the gateway's program is told."""
        tls = [] if self.tls is None else ["--tls-cert", str(self.tls.certificate), "--tls-key", str(self.tls.key)]
        return ["--listen", str(self), *tls]


class GatewaySupervisor:
    """Own the gateway process.

    Args:
        home: the platform's home; the gateway's files are in ``home/gateway``.
        address: where it must listen.
    """

    def __init__(self, home: Path, address: GatewayAddress) -> None:
        self._home = home
        self._folder = home / "gateway"
        self._address = address
        self._process: subprocess.Popen[bytes] | None = None
        self._record: ProcessRecord | None = None
        self._tasks = TaskOwner("gateway-supervisor")

    @property
    def pid(self) -> int | None:
        """Return the gateway's pid, or None while there is none."""
        return None if self._record is None else self._record.pid

    async def start(self) -> None:
        """Adopt the running gateway or start one, and keep it running.

        Raises:
            Unavailable: it does not come up; the text carries its last words.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        if not await self._adopt():
            await self._launch()
        self._tasks.keep("keep", self._keep)

    async def stop(self) -> None:
        """Drain the gateway and wait for its end; killed when it takes too long."""
        await self._tasks.close()
        await self._end()

    async def _adopt(self) -> bool:
        record = ProcessRecord.load(self._folder / "process.json")
        if record is None or not record.is_alive():
            return False
        self._record = record
        if self._listening_as() == self._address.flags:
            _log.info("adopted the running gateway", extra={"fields": {"pid": record.pid, "address": str(self._address)}})
            return True
        await self._end()
        return False

    def _listening_as(self) -> object:
        try:
            return orjson.loads((self._folder / "address.json").read_bytes())
        except (OSError, orjson.JSONDecodeError):
            return None

    async def _launch(self) -> None:
        log = self._folder / "gateway.log"
        command = [sys.executable, "-m", "flambeau.programs.gateway", *self._address.flags, "--home", str(self._home)]
        try:
            log.write_bytes(b"")
            self._process, self._record = start_detached(command, environment=os.environ, directory=self._folder, log=log)
        except OSError as error:
            raise Unavailable(f"cannot start the gateway: {error}", reason="GatewayFailed") from error
        try:
            self._record.save(self._folder / "process.json")
            write_atomically(self._folder / "address.json", orjson.dumps(self._address.flags))
        except OSError as error:
            await self._end()  # a gateway that nobody could adopt later would keep the port
            raise Unavailable(f"cannot write down the gateway's process: {error}", reason="GatewayFailed") from error
        deadline = asyncio.get_running_loop().time() + START_SECONDS_MAX
        while b"gateway ready" not in log.read_bytes():
            if self._process.poll() is not None or asyncio.get_running_loop().time() > deadline:
                words = log.read_bytes()[-LOG_TAIL_BYTES:].decode(errors="replace").strip()
                await self._end()
                raise Unavailable(f"the gateway does not start on {self._address}: {words or 'it said nothing'}", reason="GatewayFailed")
            await asyncio.sleep(_POLL_SECONDS)

    async def _keep(self) -> None:
        """Start the gateway again whenever it ends."""
        pause = 0.1
        while True:
            if self._record is not None:  # there is none after a start that failed
                await _ended(self._record, self._process)
                _log.error("the gateway ended; starting it again", extra={"fields": {"pid": self._record.pid}})
            await asyncio.sleep(pause)
            try:
                await self._launch()
                pause = 0.1
            except Unavailable as error:
                _log.error("%s", error)
                pause = min(pause * 2, RESTART_SECONDS_MAX)

    async def _end(self) -> None:
        if self._record is None:
            return
        if self._record.signal(signal.SIGTERM):
            try:
                async with asyncio.timeout(DRAIN_SECONDS_MAX):
                    await _ended(self._record, self._process)
            except TimeoutError:
                self._record.signal(signal.SIGKILL)
        if self._process is not None:
            self._process.wait(DRAIN_SECONDS_MAX)
        (self._folder / "process.json").unlink(missing_ok=True)
        self._record = self._process = None


async def _ended(record: ProcessRecord, child: subprocess.Popen[bytes] | None) -> None:
    """Wait until a process is gone, whether it is our child or an adopted one."""
    try:
        handle = os.pidfd_open(record.pid)
    except ProcessLookupError:
        return
    loop = asyncio.get_running_loop()
    gone = asyncio.Event()
    loop.add_reader(handle, gone.set)
    try:
        is_ours = child is not None and child.poll() is None  # its pid is nobody else's until we wait for it
        if is_ours or record.is_alive():
            await gone.wait()
        if child is not None:
            child.wait()
    finally:
        loop.remove_reader(handle)
        os.close(handle)
