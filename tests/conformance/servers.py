"""Start one of the two servers for a set-up, in a folder and on ports of its own, and stop it.

Nothing here waits for a fixed time: a server is ready when its doors answer and the set-up's models have a ready worker.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

from tests.conformance.archives import fill_store
from tests.conformance.case import HERE, Setup
from tests.conformance.http_client import HttpAnswer, NoAnswer, exchange
from tests.fixtures.certificates import make_certificate

ROOT = HERE.parent.parent
PEER = ROOT / ".peers" / "torchserve"
PORTS = ("inference_port", "management_port", "metrics_port", "grpc_inference_port", "grpc_management_port")
START_SECONDS_MAX = 60.0
"""The original needs 5 s on a quiet machine with two cores, ours 2 s."""
STOP_SECONDS_MAX = 30.0
POLL_SECONDS = 0.05


@dataclass(frozen=True)
class Side:
    """One of the two that are compared."""

    name: str
    bin: Path
    """Where its commands are."""
    server: tuple[str, ...]

    def environment(self) -> dict[str, str]:
        """Return a small environment that finds this side's commands first."""
        kept = {key: os.environ[key] for key in ("HOME", "LANG", "JAVA_HOME", "PYTHONPATH") if key in os.environ}
        return {**kept, "PATH": f"{self.bin}:{os.environ['PATH']}", "OMP_NUM_THREADS": "1", "TZ": "UTC"}


ORIGINAL = Side("original", PEER / "bin", (str(PEER / "bin" / "torchserve"), "--start", "--foreground"))
OURS = Side("flambeau", Path(sys.executable).parent, (sys.executable, "-m", "flambeau.cli.torchserve.server", "--start", "--foreground"))


@dataclass
class Server:
    """A running server; a context manager."""

    side: Side
    setup: Setup
    home: Path = field(init=False)
    """Its folder: store, logs, temporary files, working directory."""
    ports: dict[str, int] = field(init=False)
    _process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Server:
        self.home = Path(tempfile.mkdtemp(prefix="fc-"))  # short: a Unix socket's path has 108 bytes at most
        self.ports = dict(zip(PORTS, _free_ports(len(PORTS)), strict=True))
        (self.home / "tmp").mkdir()
        fill_store(self.home / "store", self.setup.models)
        if not self.setup.serverless:
            try:
                self._start()
            except BaseException:
                self.__exit__(None, None, None)
                raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._process is not None:
            self._stop(self._process)
        shutil.rmtree(self.home, ignore_errors=True)

    def fill_in(self, text: str) -> str:
        """Return a text with ``{inference_port}``, ``{home}``, ``{inference_key}`` and the like replaced."""
        folders = {"home": self.home, "fixtures": HERE / "fixtures", "archives": HERE / "recorded" / "archives"}
        for name, value in {**self.ports, **self._keys(), **folders}.items():
            text = text.replace(f"{{{name}}}", str(value))
        return text

    def exchange(self, door: str, request: bytes, *, seconds: float = 30, is_head: bool = False) -> HttpAnswer:
        """Send a request to a door, wherever the config puts it.

        Args:
            door: ``inference``, ``management`` or ``metrics``; ``plain`` before it means without TLS where TLS is spoken.
            request: its bytes.
            seconds: how long an answer is waited for.
            is_head: whether the answer has no body.

        Raises:
            NoAnswer: there is none.
        """
        plain, _, name = door.rpartition(" ")
        written = [line for line in self.setup.config.splitlines() if line.startswith(f"{name}_address=")][-1]
        scheme, _, rest = self.fill_in(written.partition("=")[2]).partition(":")
        host, _, port = rest.removeprefix("//").partition(":")
        return exchange(
            rest if scheme == "unix" else (host, int(port)), request, seconds=seconds, is_head=is_head, tls=scheme == "https" and not plain
        )

    def environment(self) -> dict[str, str]:
        """Return the environment for this server and for commands beside it."""
        folders = {"TMPDIR": "tmp", "TEMP": "tmp", "LOG_LOCATION": "logs", "METRICS_LOCATION": "logs"}
        own = {key: self.fill_in(value) for key, value in self.setup.environment.items()}
        return {**self.side.environment(), **{key: str(self.home / name) for key, name in folders.items()}, **own}

    def _start(self) -> None:
        config = self.home / (self.setup.config_file or "config.properties")
        config.parent.mkdir(parents=True, exist_ok=True)
        config.write_text(self.fill_in(self.setup.config))
        if "https" in self.setup.config:
            make_certificate(self.home, rsa_bits=2048)  # the original reads keys of RSA alone
        named = [] if self.setup.config_file else ["--ts-config", "config.properties"]
        command = [*self.side.server, *named, *map(self.fill_in, self.setup.flags)]
        with open(self.home / "output.txt", "wb") as output:
            self._process = subprocess.Popen(
                command,
                cwd=self.home,
                env=self.environment(),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        deadline = time.monotonic() + START_SECONDS_MAX
        while not self._is_ready():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{self.side.name} did not start for {self.setup.name}:\n{self.output()[-4000:]}")
            time.sleep(POLL_SECONDS)

    def output(self) -> str:
        """Return what the server has printed."""
        path = self.home / "output.txt"
        return path.read_text(errors="replace") if path.exists() else ""

    def _is_ready(self) -> bool:
        if "Model server started." not in self.output():
            return False
        return all(self._has_worker(model) for model in self.setup.ready)

    def _has_worker(self, model: str) -> bool:
        key = self._keys().get("management_key", "none")
        request = f"GET /models/{model} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\n\r\n".encode()
        try:
            return b"READY" in self.exchange("management", request).body
        except NoAnswer:
            return False

    def _keys(self) -> dict[str, str]:
        try:
            keys = json.loads((self.home / "key_file.json").read_text())
        except (FileNotFoundError, AttributeError, ValueError):
            return {}
        return {"inference_key": keys["inference"]["key"], "management_key": keys["management"]["key"], "api_key": keys["API"]["key"]}

    def _stop(self, process: subprocess.Popen[bytes]) -> None:
        """End the server and whatever it left in its process group."""
        if self.side is OURS:
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(STOP_SECONDS_MAX)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(STOP_SECONDS_MAX)


def _free_ports(count: int) -> list[int]:
    """Return ports that nobody listens on now."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
