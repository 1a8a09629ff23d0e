"""Load one server with wrk on loopback: a fixed number of connections, each sending its next request when it has its answer."""

from __future__ import annotations

import json
import subprocess
import tempfile
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

SCRIPT = Path(__file__).with_name("wrk.lua")
ANSWER_BYTES_MAX = 4 << 20


@dataclass(frozen=True)
class Request:
    """What is sent, again and again."""

    url: str
    body: bytes
    content_type: str = "application/octet-stream"
    host: str | None = None
    """Host header, where it isn't the URL's."""
    headers: tuple[tuple[str, str], ...] = ()
    """More of them; wrk doesn't send these."""

    @property
    def port(self) -> int:
        """The URL's."""
        return urlsplit(self.url).port or 80

    def once(self, *, seconds: float = 60) -> bytes:
        """Send it once; return the answer's body.

        Raises:
            OSError: no answer, or one that is not 2xx.
        """
        headers = {"Content-Type": self.content_type, **dict(self.headers)} | ({"Host": self.host} if self.host else {})
        asked = urllib.request.Request(self.url, self.body or None, headers)
        with urllib.request.urlopen(asked, timeout=seconds) as answer:
            return bytes(answer.read(ANSWER_BYTES_MAX))


@dataclass(frozen=True)
class Cell:
    """What one measurement saw; times in ms."""

    rate: float
    """Answers with a 2xx status per second."""
    p50: float
    p99: float
    p999: float
    failed: int
    """Answers that were none, or not 2xx."""


def measure(request: Request, connections: int, seconds: int = 2) -> Cell:
    """Send for some (whole) seconds over some connections, from one thread."""
    with tempfile.NamedTemporaryFile() as body:
        body.write(request.body)
        body.flush()
        command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "30s", "-s", str(SCRIPT), request.url, "--"]
        command += [body.name, request.content_type, request.host or ""]
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds + 60, check=True)
    seen = json.loads(done.stdout[done.stdout.rindex("\n{") :])
    answered = seen["requests"] - seen["status"]
    failed = seen["status"] + seen["connect"] + seen["read"] + seen["write"] + seen["timeout"]
    return Cell(answered / seen["seconds"], seen["p50"], seen["p99"], seen["p999"], failed)


def best(cells: list[Cell]) -> Cell:
    """Return the cell with the highest rate: another process on the machine only takes away."""
    return max(cells, key=lambda cell: cell.rate)
