"""Unpack an archive into a folder by the rules of ``unpack_guard``: nothing outside it, no links, no bombs.

Called by ``serving.archive`` for model archives and by ``storage`` for archives that a model's URI names.
"""

from __future__ import annotations

import errno
import gzip
import io
import lzma
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Collection
from enum import Enum
from pathlib import Path
from typing import IO, TypeAlias

from flambeau.foundation.errors import FlambeauError, InvalidInput, Unavailable
from flambeau.foundation.unpack_guard import Guard, UnpackLimits

HEAD_BYTES = 512
COPY_BYTES = 1024**2
"""How much is held in memory at a time."""

AdmitNames: TypeAlias = Callable[[str, Collection[str]], None]
_FOREIGN_ERRORS = (
    *(zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError),
    *(EOFError, NotImplementedError, RuntimeError, UnicodeError, OSError),
)


class Form(Enum):
    """What a file can be unpacked as."""

    ZIP = "zip"
    TAR_GZ = "tar.gz"
    TAR = "tar"
    OTHER = "other"


def read_head(path: Path) -> bytes:
    """Return a file's first bytes."""
    with path.open("rb") as file:
        return file.read(HEAD_BYTES)


def form_of(head: bytes) -> Form:
    """Tell an archive's form; names don't count, as ``.mar`` files that are tarballs exist."""
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return Form.ZIP
    if head.startswith(b"\x1f\x8b"):
        return Form.TAR_GZ
    return Form.TAR if head[257:262] == b"ustar" else Form.OTHER


def _admit_all(_: str, __: Collection[str]) -> None:
    return None


def extract(archive: Path, folder: Path, form: Form, limits: UnpackLimits, *, admit_names: AdmitNames = _admit_all) -> None:
    """Unpack an archive into a folder that is there. What was written before an error stays: the caller throws the folder away.

    Args:
        archive: the file.
        folder: where its entries go.
        form: what it is; not OTHER.
        limits: how much it may expand to.
        admit_names: called with a zip's name and the names of its entries before anything is written; it may refuse them.

    Raises:
        InvalidInput: truncated, damaged, encrypted or unsafe; TooLarge over a limit.
        Unavailable: the disk is full, or the archive can't be read.
    """
    size = archive.stat().st_size
    guard = Guard(archive.name, size, limits)
    try:
        if form is Form.ZIP:
            _extract_zip(archive, folder, guard, admit_names)
        else:
            _extract_tar(archive, folder, guard, is_packed=form is Form.TAR_GZ)
    except FlambeauError:
        raise
    except _FOREIGN_ERRORS as error:
        raise _explained(archive.name, size, form, error) from error


def _extract_zip(archive: Path, staging: Path, guard: Guard, admit_names: AdmitNames) -> None:
    with zipfile.ZipFile(archive) as packed:
        entries = packed.infolist()
        admit_names(archive.name, {entry.filename for entry in entries})
        for entry in entries:
            path = guard.admit(entry.filename, is_directory=entry.is_dir())
            # The upper half holds Unix permissions and the kind, zero where another system packed it.
            kind = stat.S_IFMT(entry.external_attr >> 16)
            if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise guard.refuse_kind(entry.filename, "link" if kind == stat.S_IFLNK else "special file")
            if path is None or entry.is_dir():
                (staging / (path or "")).mkdir(parents=True, exist_ok=True)
                continue
            guard.count(entry.file_size)  # the reader never gives more than that, even where the header lies
            with packed.open(entry) as source:
                _write(source, staging / path)


def _extract_tar(archive: Path, staging: Path, guard: Guard, *, is_packed: bool) -> None:
    opened = _CountedGzip(archive, guard) if is_packed else _CountedFile(archive, guard)
    with opened as plain, tarfile.open(fileobj=plain, mode="r|", bufsize=COPY_BYTES) as packed:
        for entry in packed:
            path = guard.admit(entry.name, is_directory=entry.isdir())
            if not (entry.isfile() or entry.isdir()) or entry.issparse():
                raise guard.refuse_kind(entry.name, "link" if entry.islnk() or entry.issym() else "special file")
            if path is None or entry.isdir():
                (staging / (path or "")).mkdir(parents=True, exist_ok=True)
                continue
            source = packed.extractfile(entry)
            assert source is not None, "regular files have content"
            _write(source, staging / path)


class _CountedGzip(gzip.GzipFile):
    """Count what comes out of a compressed stream, tar headers and all: a header can be a bomb too."""

    def __init__(self, path: Path, guard: Guard) -> None:
        super().__init__(path, "rb")
        self._guard = guard

    def read(self, size: int | None = -1) -> bytes:
        data = super().read(size)
        self._guard.count(len(data))
        return data


class _CountedFile(io.FileIO):
    """Count what comes out of a tar that isn't compressed."""

    def __init__(self, path: Path, guard: Guard) -> None:
        super().__init__(path, "r")
        self._guard = guard

    def read(self, size: int | None = -1) -> bytes:
        data = super().read(-1 if size is None else size)
        self._guard.count(len(data))
        return data


def _write(source: IO[bytes], path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("xb") as target:
        shutil.copyfileobj(source, target, COPY_BYTES)


def _explained(archive: str, size: int, form: Form, error: Exception) -> FlambeauError:
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return Unavailable(f"cannot unpack archive {archive}: the disk is full", hint="free some space, or point TEMP at another disk")
    if isinstance(error, OSError) and error.errno == errno.ENAMETOOLONG:
        return InvalidInput(f"archive {archive} has a file name that is too long for this machine")
    if isinstance(error, OSError) and error.errno is not None:
        return Unavailable(f"cannot unpack archive {archive}: {error.strerror}")
    if isinstance(error, RuntimeError) and "encrypted" in str(error):
        return InvalidInput(f"archive {archive} is encrypted", hint="archives must be readable without a password")
    return InvalidInput(
        f"archive {archive} is truncated or damaged: it begins as a {form.value} of {size} bytes, but {error or 'it ends too early'}",
        hint="fetch or upload it again; compare its size with the original's",
    )
