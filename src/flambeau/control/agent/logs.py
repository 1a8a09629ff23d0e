"""The logs of pods: files that processes append to, read as ``kubectl logs`` asks.

A process writes its file itself, so that it goes on without us; the file's size is bounded by cutting it (``cut``). Lines carry the
times that programs write at their start; a line without one has the time of the line before it.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from collections.abc import AsyncGenerator
from pathlib import Path

from flambeau.control.resources.pod_contract import INITIALIZER_CONTAINER, PROXY_CONTAINER
from flambeau.foundation.clock import Clock
from flambeau.foundation.errors import InvalidInput, NotFound, NotReady
from flambeau.foundation.timestamps import parse_rfc3339, rfc3339

LOG_BYTES_MAX = 50 * 1024 * 1024
"""A log over this size is copied to ``<name>.log.1`` (one such copy is kept) and begun anew."""
_FOLLOW_SECONDS = 0.2
"""Between two looks at a file that is followed; a file gives no event that the standard library could wait for."""
_BLOCK_BYTES = 64 * 1024
_TAIL_BYTES_MAX = 8 * 1024 * 1024
"""How far back ``tail_lines`` looks."""
_LINE_BYTES_MAX = 64 * 1024
"""A longer line is cut into pieces."""
_PROXY_WORDS = b"queue-proxy has no process of its own on this machine: the gateway and the agent do its work\n"


def log_path(directory: Path, container: str, *, previous: bool = False) -> Path:
    """Return where a container's log is in a pod's directory."""
    return directory / "logs" / f"{container}{'.previous' if previous else ''}.log"


def begin(directory: Path, container: str) -> Path:
    """Make room for a new run's log: the last run's becomes the previous one."""
    path = log_path(directory, container)
    path.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(FileNotFoundError):
        path.rename(log_path(directory, container, previous=True))
    return path


def is_too_long(path: Path) -> bool:
    """Tell whether a log is over its size."""
    try:
        return path.stat().st_size > LOG_BYTES_MAX
    except FileNotFoundError:
        return False


def cut(path: Path) -> None:
    """Begin a log anew, its old content kept beside it if the disk has room. Blocks; what is written between the two is lost."""
    kept = path.with_name(path.name + ".1")
    try:
        shutil.copyfile(path, kept)
    except OSError:
        kept.unlink(missing_ok=True)  # on a full disk the log itself is what has to go
    os.truncate(path, 0)


def last_lines(path: Path, lines: int, *, bytes_max: int = 4096) -> str:
    """Return the end of a log, for a message: at most so many lines and bytes."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - bytes_max))
            text = file.read(bytes_max).decode(errors="replace")
    except OSError:
        return ""
    return "\n".join(text.rstrip().splitlines()[-lines:])


class PodLogs:
    """Read containers' logs.

    Args:
        home: the platform's directory.
        clock: for following and for ``since_seconds``.
    """

    def __init__(self, home: Path, clock: Clock) -> None:
        self._pods = home / "pods"
        self._clock = clock

    async def stream(
        self,
        namespace: str,
        pod: str,
        container: str,
        *,
        follow: bool = False,
        tail_lines: int | None = None,
        since_seconds: float | None = None,
        previous: bool = False,
        timestamps: bool = False,
        limit_bytes: int | None = None,
    ) -> AsyncGenerator[bytes, None]:
        """Yield a log, in pieces of whole lines.

        Args:
            namespace: the pod's.
            pod: its name.
            container: which of its containers.
            follow: go on until the container ends; before it starts, wait for it.
            tail_lines: only the last so many.
            since_seconds: only lines that are younger.
            previous: the run before the last restart.
            timestamps: put a time before each line.
            limit_bytes: end after so many.

        Raises:
            NotFound: no such pod here, or no previous run.
            NotReady: the container has not started.
            InvalidInput: a number is negative.

        Cancel: nothing is left behind.
        """
        if min(tail_lines or 0, since_seconds or 0, limit_bytes or 0) < 0:
            raise InvalidInput("tailLines, sinceSeconds and limitBytes cannot be negative")
        directory = self._directory(namespace, pod)
        if container == PROXY_CONTAINER:
            yield _PROXY_WORDS
            return
        path = log_path(directory, container, previous=previous)
        if previous and not path.exists():
            raise NotFound(f'previous terminated container "{container}" in pod "{pod}" not found')
        if not path.exists() and not follow:
            raise NotReady(f'container "{container}" in pod "{pod}" is waiting to start', reason="PodInitializing")
        since = None if since_seconds is None else self._clock.wall() - since_seconds
        left = limit_bytes
        async for piece in self._pieces(path, follow and not previous, tail_lines, since, timestamps):
            if left is None:
                yield piece
                continue
            yield piece[:left]
            left -= len(piece)
            if left <= 0:
                return

    def _directory(self, namespace: str, pod: str) -> Path:
        for directory in self._pods.glob("*"):
            parts = directory.name.split("_")
            if parts[:2] == [namespace, pod]:
                return directory
        raise NotFound(f'pod "{pod}" in namespace "{namespace}" has no logs on this machine')

    async def _pieces(
        self, path: Path, follow: bool, tail_lines: int | None, since: float | None, timestamps: bool
    ) -> AsyncGenerator[bytes, None]:
        stamper = _Stamper(path, since, timestamps)
        position = 0
        with contextlib.suppress(FileNotFoundError):
            position = _tail_position(path, tail_lines)
        rest = b""
        while True:
            ended = _has_ended(path)
            block, position = _read_block(path, position)
            if block:
                lines = (rest + block).split(b"\n")
                rest = lines.pop()
                if len(rest) > _LINE_BYTES_MAX:
                    lines.append(rest)
                    rest = b""
                piece = stamper.stamp(lines)
                if piece:
                    yield piece
                continue
            if not follow or ended:
                break
            await self._clock.sleep(_FOLLOW_SECONDS)
        if rest:
            yield stamper.stamp([rest]).removesuffix(b"\n")


class _Stamper:
    """Know each line's time; drop the old ones and write the times, where asked."""

    def __init__(self, path: Path, since: float | None, timestamps: bool) -> None:
        self._since = since
        self._timestamps = timestamps
        self._last = _begun(path)

    def stamp(self, lines: list[bytes]) -> bytes:
        if self._since is None and not self._timestamps:
            return b"".join(line + b"\n" for line in lines)
        kept = []
        for line in lines:
            self._last = _time_of(line) or self._last
            if self._since is not None and self._last < self._since:
                continue
            kept.append((rfc3339(self._last).encode() + b" " if self._timestamps else b"") + line + b"\n")
        return b"".join(kept)


def _begun(path: Path) -> float:
    """Return a time for lines before the first one that says its own: that of the file's last change."""
    try:
        return path.stat().st_mtime
    except OSError:
        return time.time()


def _time_of(line: bytes) -> float | None:
    """Return the time at a line's start: ``2026-01-31T12:00:00Z`` or ``2026-01-31 12:00:00,123``."""
    head = line[:32].decode("latin-1").replace(",", ".")
    for words in (1, 2):
        candidate = " ".join(head.split(" ")[:words])
        if len(candidate) >= 19 and candidate[:2].isdigit():
            with contextlib.suppress(ValueError):
                return parse_rfc3339(candidate)
    return None


def _tail_position(path: Path, lines: int | None) -> int:
    """Return where the last so many lines begin."""
    if lines is None:
        return 0
    with path.open("rb") as file:
        size = position = file.seek(0, os.SEEK_END)
        if lines == 0:
            return size
        found, floor = 0, max(0, size - _TAIL_BYTES_MAX)
        while position > floor:
            begin_at = max(floor, position - _BLOCK_BYTES)
            file.seek(begin_at)
            block = file.read(position - begin_at)
            end = len(block) - 1 if position == size and block.endswith(b"\n") else len(block)
            while (end := block.rfind(b"\n", 0, end)) >= 0:
                found += 1
                if found == lines:
                    return begin_at + end + 1
            position = begin_at
        return floor


def _read_block(path: Path, position: int) -> tuple[bytes, int]:
    """Read on; from the start again if the file was cut or begun anew."""
    try:
        with path.open("rb") as file:
            if file.seek(0, os.SEEK_END) < position:
                position = 0
            file.seek(position)
            block = file.read(_BLOCK_BYTES)
    except FileNotFoundError:
        return b"", position
    return block, position + len(block)


def _has_ended(path: Path) -> bool:
    """Tell whether nothing more will be written: the model is there, or the process that wrote is not."""
    directory = path.parent.parent
    if path.stem == INITIALIZER_CONTAINER:
        return not directory.exists() or (directory / "mnt" / "models").exists()
    return not directory.exists() or (path.exists() and not (directory / "processes" / f"{path.stem}.json").exists())
