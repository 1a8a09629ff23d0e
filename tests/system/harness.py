"""A platform of its own for a test: started as a user would, driven with the real kubectl, and gone without a trace at the end."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import httpx2
import psutil

_Found = TypeVar("_Found")

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent
START_SECONDS_MAX = 40.0
STOP_SECONDS_MAX = 60.0
KUBECTL_SECONDS_MAX = 130.0


def free_port() -> int:
    """Return a port of 127.0.0.1 that nobody has now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def until(look: Callable[[], _Found], *, seconds: float, what: str) -> _Found:
    """Look again and again until there is something, at most so long; return it."""
    deadline = time.monotonic() + seconds
    while True:
        found = look()
        if found:
            return found
        if time.monotonic() > deadline:
            raise AssertionError(f"after {seconds} s still no {what}")
        time.sleep(0.05)


class Platform:
    """One ``flambeau up`` with a home of its own."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.api_port, self.gateway_port = free_port(), free_port()
        self.gateway = f"http://127.0.0.1:{self.gateway_port}"
        self.log = home.with_suffix(".log")
        self.process: subprocess.Popen[bytes] | None = None
        self._client = httpx2.Client(timeout=60, trust_env=False)

    # Its life

    def start(self) -> None:
        """Start it and wait until it says that it is ready."""
        command = [str(BIN / "flambeau"), "up", "--home", str(self.home)]
        command += ["--api", f"127.0.0.1:{self.api_port}", "--gateway", f"127.0.0.1:{self.gateway_port}"]
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, start_new_session=True)
        seen = self.log.stat().st_size

        def ready() -> bool:
            assert self.process is not None
            text = self.log.read_bytes()[seen:].decode(errors="replace")
            assert self.process.poll() is None, f"flambeau up ended with {self.process.returncode}:\n{text}"
            return any("ready" in line for line in text.splitlines() if not line.startswith("20"))

        until(ready, seconds=START_SECONDS_MAX, what=f"word that the platform is ready; its log is {self.log}")

    @contextmanager
    def running(self) -> Iterator[Platform]:
        """Run it for a block; afterwards nothing of it is left."""
        self.start()
        try:
            yield self
        finally:
            status = self.stop()
            left = self.processes()
            for process in left:
                process.kill()
        assert status == 0, self.log.read_text()[-4000:]
        assert not left, f"still running after SIGTERM: {left}"

    def kill(self) -> None:
        """Kill -9 the control plane alone."""
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(10)

    def stop(self) -> int:
        """End it as a person would; return its exit status."""
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        status = self.process.wait(STOP_SECONDS_MAX)
        self._client.close()
        return status

    def processes(self) -> list[psutil.Process]:
        """Return every living process that belongs to this platform: its home stands in its command or environment."""
        found = []
        for process in psutil.process_iter():
            try:
                words = [*process.cmdline(), *process.environ().values()]
                if process.pid != os.getpid() and process.status() != psutil.STATUS_ZOMBIE and any(str(self.home) in w for w in words):
                    found.append(process)
            except psutil.Error:
                continue
        return found

    # kubectl and flambeau

    def _environment(self) -> dict[str, str]:
        return {**os.environ, "KUBECONFIG": str(self.home / "kubeconfig"), "HOME": str(self.home)}

    def run(self, *command: str, stdin: str | None = None, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a command against this platform."""
        done = subprocess.run(
            command, env=self._environment(), input=stdin, capture_output=True, text=True, timeout=KUBECTL_SECONDS_MAX, check=False
        )
        if check:
            assert done.returncode == 0, f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout}{done.stderr}"
        return done

    def kubectl(self, *arguments: str, stdin: str | None = None, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run the real kubectl."""
        return self.run("kubectl", *arguments, stdin=stdin, check=check)

    @contextlib.contextmanager
    def port_forward(self, what: str, port: int, *, namespace: str) -> Iterator[str]:
        """Have a port of a pod, or of what leads to one, on this machine; yield its URL."""
        command = ["kubectl", "port-forward", "--address=127.0.0.1", "-n", namespace, what, f":{port}"]
        forwarding = subprocess.Popen(command, env=self._environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        try:
            assert forwarding.stdout is not None
            line = forwarding.stdout.readline()
            found = re.search(r"(127\.0\.0\.1:\d+) ->", line)
            assert found is not None, line
            yield f"http://{found[1]}"
        finally:
            forwarding.kill()
            forwarding.communicate(timeout=KUBECTL_SECONDS_MAX)

    def flambeau(self, *arguments: str, stdin: str | None = None, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run our own command."""
        return self.run(str(BIN / "flambeau"), *arguments, stdin=stdin, check=check)

    def get(self, *what: str) -> dict[str, Any]:
        """Return an object, or a list of them."""
        answer: dict[str, Any] = json.loads(self.kubectl("get", *what, "-o", "json").stdout)
        return answer

    def condition(self, name: str, namespace: str = "torchserve", type: str = "Ready") -> dict[str, Any]:
        """Return an InferenceService's condition, or an empty one."""
        isvc = self.get("isvc", name, "-n", namespace)
        return next((c for c in isvc.get("status", {}).get("conditions", []) if c["type"] == type), {})

    def ready_message(self, name: str, *words: str, seconds: float, namespace: str = "torchserve") -> str:
        """Wait until the service isn't Ready with a message that holds all the words; return it."""
        seen: list[str] = []

        def look() -> str:
            condition = self.condition(name, namespace)
            message = f"{condition.get('reason')}: {condition.get('message')}"
            seen[:] = [f"{condition.get('status')} {message}"]
            fits = condition.get("status") == "False" and all(word in message for word in words)
            return message if fits else ""

        try:
            return until(look, seconds=seconds, what=f"Ready message with {words}")
        except AssertionError as error:
            raise AssertionError(f"{error}; it says: {seen}") from None

    def pods(self, name: str, namespace: str = "torchserve") -> list[dict[str, Any]]:
        """Return a service's pods that are not going."""
        listing = self.get("pods", "-n", namespace, "-l", f"serving.kserve.io/inferenceservice={name}")
        return [pod for pod in listing["items"] if not pod["metadata"].get("deletionTimestamp")]

    # Requests

    def post(self, path: str, body: Any, *, host: str, headers: Mapping[str, str] | None = None) -> httpx2.Response:
        """Send a request through the gateway."""
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        return self._client.post(
            f"{self.gateway}{path}", content=content, headers={"Host": host, "Content-Type": "application/json", **(headers or {})}
        )

    def ask(self, path: str, *, host: str) -> httpx2.Response:
        """Read a page through the gateway."""
        return self._client.get(f"{self.gateway}{path}", headers={"Host": host})


def host_of(name: str, namespace: str = "torchserve") -> str:
    """Return the host a cluster's clients use."""
    return f"{name}.{namespace}.svc.cluster.local"


def under_load(platform: Platform, host: str, body: Any, stop: Callable[[], bool]) -> Iterator[tuple[int, str]]:
    """Send one request after another until told to stop; yield each status and body."""
    while not stop():
        answer = platform.post("/v1/models/mnist:predict", body, host=host)
        yield answer.status_code, answer.text
