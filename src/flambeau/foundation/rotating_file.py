"""A log file that is set aside when it is full or its day is over: compressed, and only so many kept. For ``LineWriter``'s thread.

Names are those of TorchServe's log4j: ``ts_log.log``, set aside as ``ts_log.25-Nov.log.gz``; a second one of the same day gets a number
where log4j would overwrite the first.
"""

from __future__ import annotations

import gzip
import os
import re
import shutil
import stat
import time
from collections.abc import Callable
from pathlib import Path

FILE_BYTES_MAX = 100 << 20
"""Then a file is set aside."""
FILES_KEPT = 5
"""So many that were set aside stay."""
_NUMBERS_MAX = 1_000
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_DAY_PATTERN = r"\.\d\d-[A-Z][a-z]{2}(\.\d+)?"


class RotatingFile:
    """Append to a file (``line_writer.Sink``).

    Args:
        path: the file; it and its directory are made with the first line.
        bytes_max: then it is set aside.
        kept: so many older ones stay.
        now: seconds since the epoch.
    """

    def __init__(
        self, path: Path, *, bytes_max: int = FILE_BYTES_MAX, kept: int = FILES_KEPT, now: Callable[[], float] = time.time
    ) -> None:
        self._path = path
        self._bytes_max = bytes_max
        self._kept = kept
        self._now = now
        self._descriptor = -1
        self._bytes = 0
        self._day = ""

    def write(self, data: bytes, /) -> None:
        """Append whole lines.

        Raises:
            OSError: as the disk says; nothing or a part of the data is written.
        """
        self._follow_path()
        today = _day_of(self._now())
        if self._bytes and (today != self._day or self._bytes + len(data) > self._bytes_max):
            self._set_aside()
            self._follow_path()
        self._day = today
        view = memoryview(data)
        while view:
            written = os.write(self._descriptor, view)
            self._bytes += written
            view = view[written:]

    def close(self) -> None:
        """Close the file."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _follow_path(self) -> None:
        """Open the file; again if somebody (logrotate) moved it away."""
        try:
            there = os.stat(self._path)
        except FileNotFoundError:
            self.close()
        else:
            if self._descriptor >= 0 and not os.path.samestat(there, os.fstat(self._descriptor)):
                self.close()
        if self._descriptor >= 0:
            return
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
        opened = os.fstat(self._descriptor)
        # A device or a pipe has no size that could be too large.
        self._bytes = opened.st_size if stat.S_ISREG(opened.st_mode) else -1 << 62
        self._day = _day_of(opened.st_mtime if opened.st_size else self._now())

    def _set_aside(self) -> None:
        if self._bytes <= 0:
            return
        self.close()
        os.replace(self._path, self._free_name())
        for left in self._aside(self._path.suffix):
            _compress(left)
        packed = sorted(self._aside(f"{self._path.suffix}.gz"), key=lambda path: path.stat().st_mtime, reverse=True)
        for old in packed[self._kept :]:
            old.unlink(missing_ok=True)

    def _aside(self, ending: str) -> list[Path]:
        """Return the files set aside with this ending; also those that a killed server left uncompressed."""
        ours = re.compile(re.escape(self._path.stem) + _DAY_PATTERN + re.escape(ending))
        return [path for path in self._path.parent.iterdir() if ours.fullmatch(path.name)]

    def _free_name(self) -> Path:
        for number in range(_NUMBERS_MAX):
            part = f".{number}" if number else ""
            name = self._path.with_name(f"{self._path.stem}.{self._day}{part}{self._path.suffix}")
            if not name.exists() and not name.with_name(f"{name.name}.gz").exists():
                return name
        raise OSError(f"there are {_NUMBERS_MAX} logs of {self._day} in {self._path.parent}")


def _day_of(seconds: float) -> str:
    moment = time.localtime(seconds)
    return f"{moment.tm_mday:02d}-{_MONTHS[moment.tm_mon - 1]}"


def _compress(path: Path) -> None:
    """Replace a file by its gzip, which keeps its time."""
    packed = path.with_name(f"{path.name}.gz")
    part = packed.with_name(f"{packed.name}.part")
    times = path.stat()
    with path.open("rb") as plain, gzip.open(part, "wb", compresslevel=1) as target:
        shutil.copyfileobj(plain, target, 1 << 20)
    os.utime(part, ns=(times.st_atime_ns, times.st_mtime_ns))
    os.replace(part, packed)
    path.unlink()
