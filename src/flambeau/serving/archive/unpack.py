"""Turn an archive into a folder, or refuse it without leaving a trace.

The repository calls :func:`unpack` once for every model version it loads; ``workflow`` unpacks its own archives by the same rules.
"""

from __future__ import annotations

import shutil
import tempfile
import uuid
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from flambeau.foundation.errors import InvalidInput, NotFound, TooLarge
from flambeau.foundation.unpack_guard import UnpackLimits
from flambeau.foundation.unpacking import Form, extract, form_of, read_head
from flambeau.serving.archive.manifest import MANIFEST_NAME, Manifest, parse_manifest
from flambeau.serving.archive.recognise import looks_like

MANIFEST_BYTES_MAX = 1024**2

_ManifestT = TypeVar("_ManifestT")


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
    form = form_of(head)
    if form not in (Form.ZIP, Form.TAR_GZ):
        what, hint = looks_like(head)
        raise InvalidInput(
            f"archive {archive.name} is neither a zip nor a tar.gz: its {archive.stat().st_size} bytes look like {what} "
            f"(they begin with {head[:16]!r})",
            hint=hint,
        )
    extract(archive, staging, form, limits, admit_names=_refuse_checkpoint)


def _refuse_checkpoint(archive: str, names: Collection[str]) -> None:
    """PyTorch's checkpoints are zips as well."""
    if MANIFEST_NAME not in names and any(name.endswith("/data.pkl") for name in names):
        raise InvalidInput(
            f"archive {archive} is a PyTorch checkpoint, not a model archive",
            hint="package it with torch-model-archiver --serialized-file",
        )


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
