"""Turn an archive into a folder, or refuse it without leaving a trace.

The repository calls :func:`unpack` once for every model version it loads; ``workflow`` unpacks its own archives by the same rules.
"""

from __future__ import annotations

import errno
import gzip
import shutil
import stat
import tarfile
import tempfile
import uuid
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TypeVar

from flambeau.foundation.errors import FlambeauError, InvalidInput, NotFound, TooLarge, Unavailable
from flambeau.serving.archive.guard import Guard, UnpackLimits
from flambeau.serving.archive.manifest import MANIFEST_NAME, Manifest, parse_manifest
from flambeau.serving.archive.recognise import Form, form_of, looks_like, read_head

MANIFEST_BYTES_MAX = 1024**2
COPY_BYTES = 1024**2
"""How much is held in memory at a time."""

_ManifestT = TypeVar("_ManifestT")
_FOREIGN_ERRORS = (zipfile.BadZipFile, tarfile.TarError, zlib.error, EOFError, NotImplementedError, RuntimeError, UnicodeError, OSError)


@dataclass(frozen=True, slots=True)
class Unpacked:
    """An archive as a folder."""

    directory: Path
    """The worker's working directory. A folder given as archive is used where it is; else the caller removes this one."""
    manifest: Manifest
    """Empty where the archive has none, which is legal: name and handler must then come from elsewhere."""


def unpack(archive: Path, target_root: Path, limits: UnpackLimits | None = None) -> Unpacked:
    """Unpack a zip (``.mar``) or a gzipped tar into a new folder, or read a folder's manifest.

    Args:
        archive: the file or folder.
        target_root: where the new folder goes; it is made if missing.
        limits: how much the archive may expand to.

    Returns:
        The folder, whole: it is unpacked beside and renamed.

    Raises:
        NotFound: there is no such file.
        InvalidInput: not an archive (the text says what it looks like), truncated, unsafe or without a readable manifest.
        Unavailable: the disk is full, or the archive can't be read.
    """
    return Unpacked(*unpack_with(archive, target_root, _read_manifest, limits or UnpackLimits()))


def unpack_with(
    archive: Path, target_root: Path, read_manifest: Callable[[Path, str], _ManifestT], limits: UnpackLimits
) -> tuple[Path, _ManifestT]:
    """Unpack as :func:`unpack` does, and read another kind of manifest.

    Args:
        archive: the file or folder.
        target_root: where the new folder goes.
        read_manifest: called with the folder and the archive's name; what it raises leaves no folder behind.
        limits: how much the archive may expand to.
    """
    if archive.is_dir():
        directory = _model_root(archive)
        return directory, read_manifest(directory, archive.name)
    if not archive.is_file():
        raise NotFound(f"archive {archive.name} does not exist", hint="check the model store's folder and the archive's name")
    target_root.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=".unpacking-", dir=target_root))
    try:
        _extract(archive, staging, limits)
        root = _model_root(staging)
        manifest = read_manifest(root, archive.name)
        directory = target_root / uuid.uuid4().hex
        root.rename(directory)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    directory.chmod(0o755)  # mkdtemp's folders are the owner's alone
    return directory, manifest


def _extract(archive: Path, staging: Path, limits: UnpackLimits) -> None:
    head = read_head(archive)
    form, size = form_of(head), archive.stat().st_size
    if form is Form.OTHER:
        what, hint = looks_like(head)
        raise InvalidInput(
            f"archive {archive.name} is neither a zip nor a tar.gz: its {size} bytes look like {what} (they begin with {head[:16]!r})",
            hint=hint,
        )
    extract: Callable[[Path, Path, Guard], None] = _extract_zip if form is Form.ZIP else _extract_tar
    try:
        extract(archive, staging, Guard(archive.name, size, limits))
    except FlambeauError:
        raise
    except _FOREIGN_ERRORS as error:
        raise _explained(archive.name, size, form, error) from error


def _extract_zip(archive: Path, staging: Path, guard: Guard) -> None:
    with zipfile.ZipFile(archive) as packed:
        entries = packed.infolist()
        names = {entry.filename for entry in entries}
        if MANIFEST_NAME not in names and any(name.endswith("/data.pkl") for name in names):
            raise InvalidInput(
                f"archive {archive.name} is a PyTorch checkpoint, not a model archive",
                hint="package it with torch-model-archiver --serialized-file",
            )
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


def _extract_tar(archive: Path, staging: Path, guard: Guard) -> None:
    with _CountedGzip(archive, guard) as plain, tarfile.open(fileobj=plain, mode="r|", bufsize=COPY_BYTES) as packed:
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


def _write(source: IO[bytes], path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("xb") as target:
        shutil.copyfileobj(source, target, COPY_BYTES)


def _model_root(directory: Path) -> Path:
    """Return the folder itself, or its only sub-folder: tarballs often have one on top."""
    entries = [entry for entry in directory.iterdir() if not entry.name.startswith(".")]
    if len(entries) == 1 and entries[0].is_dir() and entries[0].name not in ("MAR-INF", "WAR-INF"):
        return entries[0]
    return directory


def _read_manifest(directory: Path, archive: str) -> Manifest:
    content = read_manifest_file(directory, MANIFEST_NAME, archive)
    return Manifest() if content is None else parse_manifest(content, archive)


def read_manifest_file(directory: Path, name: str, archive: str) -> bytes | None:
    """Return a manifest's bytes; None where the archive has none.

    Raises:
        TooLarge: it is over its limit.
    """
    path = directory / name
    if not path.is_file():
        return None
    with path.open("rb") as file:
        content = file.read(MANIFEST_BYTES_MAX + 1)
    if len(content) > MANIFEST_BYTES_MAX:
        raise TooLarge(f"archive {archive}: {name} is over {MANIFEST_BYTES_MAX} bytes")
    return content


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
