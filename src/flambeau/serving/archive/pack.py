"""Make a model archive out of a model's files.

Called by ``torch-model-archiver`` and ``flambeau archive``; ``workflow`` makes its archives with the parts below. Equal input gives equal
bytes, but for the manifest's time of day.
"""

from __future__ import annotations

import contextlib
import glob
import gzip
import json
import logging
import os
import re
import shutil
import tarfile
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Literal

from flambeau.foundation.errors import Conflict, InvalidInput, NotFound, TooLarge
from flambeau.foundation.unpack_guard import UnpackLimits
from flambeau.serving.archive.manifest import ARCHIVER_VERSION, MANIFEST_NAME, Manifest, manifest_document

logger = logging.getLogger(__name__)

ArchiveFormat = Literal["default", "zip-store", "tgz", "no-archive"]
Runtime = Literal["python", "python3", "LSP"]

BUILT_IN_HANDLERS = frozenset(
    {
        "base_handler",
        "text_classifier",
        "image_classifier",
        "object_detector",
        "image_segmenter",
        "dali_image_classifier",
        "vllm_handler",
        "trt_llm_handler",
    }
)
"""Names that stand for no file; what a server doesn't have, it says when it loads the archive."""
BUILT_IN_LSP_HANDLERS = frozenset({"BaseHandler", "TorchScriptHandler"})

ALLOWED_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_\-.]*")
_SKIPPED_FOLDERS = ("__MACOSX", "__pycache__")
_EARLIEST_TIME = (1980, 1, 1, 0, 0, 0)
"""What a zip can date at the earliest; every entry has it, so that equal files make equal archives."""


@dataclass(frozen=True, slots=True)
class ArchiveRequest:
    """What to put into an archive, and where to write it."""

    model_name: str
    version: str
    handler: str
    """A built-in's name, or a Python file, perhaps with ``:function``."""
    serialized_file: Path | None = None
    model_file: Path | None = None
    extra_files: tuple[str, ...] = ()
    """Files, folders (their contents go to the top) and patterns."""
    requirements_file: Path | None = None
    config_file: Path | None = None
    runtime: Runtime = "python"
    archive_format: ArchiveFormat = "default"
    export_path: Path = Path()
    force: bool = False


def pack(request: ArchiveRequest, manifest: str | None = None) -> Path:
    """Write an archive.

    Args:
        request: what goes into it, and where it goes.
        manifest: MANIFEST.json's text; None: made from the request.

    Returns:
        The file, or with ``no-archive`` the folder. It appears whole or not at all.

    Raises:
        InvalidInput: the model's name has characters that paths and URLs can't carry.
        NotFound: a file that was named isn't there, or the export path is no folder.
        Conflict: the target exists and ``force`` is off.
    """
    ending, write = _WRITERS[request.archive_format]
    target = target_of(request.export_path, request.model_name, ending, what="model", force=request.force)
    entries = collect(request)
    text = manifest or json.dumps(manifest_document(_manifest_of(request)), indent=2)
    with appearing_whole(target) as made:
        write(made, request.model_name, entries, text.encode())
    return target


def target_of(export_path: Path, name: str, ending: str, *, what: str, force: bool) -> Path:
    """Return where an archive is to be written.

    Raises:
        InvalidInput: the name has characters that paths and URLs can't carry.
        NotFound: the export path is no folder.
        Conflict: the target exists and ``force`` is off.
    """
    if not ALLOWED_NAME.fullmatch(name):
        raise InvalidInput(
            f"{what} name {name!r} is not allowed: it must match ^{ALLOWED_NAME.pattern}$",
            hint="use letters, digits, underscores, dots and dashes, and begin with a letter or digit",
        )
    if not export_path.is_dir():
        raise NotFound(f"export path {export_path} is not a folder", hint="make it first, or leave --export-path out")
    target = export_path / f"{name}{ending}"
    if target.exists() and not force:
        raise Conflict(f"{target} exists already", hint="overwrite it with -f / --force, or choose another --export-path")
    if target.exists():
        logger.warning("Overwriting %s ...", target)
    return target


@contextlib.contextmanager
def appearing_whole(target: Path) -> Iterator[Path]:
    """Yield a path to write to, which becomes the target at the end; after an error the target is as it was."""
    # A staging folder beside the target: the rename can't cross file systems, and no two archivers ever share one.
    with tempfile.TemporaryDirectory(prefix=f".{target.name}-", dir=target.parent) as staging:
        made = Path(staging) / target.name
        yield made
        if target.is_dir():
            target.rename(Path(staging) / "replaced")
        os.replace(made, target)


def collect(request: ArchiveRequest) -> dict[str, Path]:
    """Return which file goes where in the archive, by name in it.

    Raises:
        NotFound: a file that was named isn't there.
    """
    entries: dict[str, Path] = {}
    named = (request.model_file, request.serialized_file, handler_file(request.handler, request.runtime))
    for path in named:
        if path is not None:
            add_entry(entries, path.name, existing(path))
    for item in request.extra_files:
        for name, path in _extras(item):
            add_entry(entries, name, path)
    for path in (request.requirements_file, request.config_file):
        if path is not None:
            add_entry(entries, path.name, existing(path))
    if entries.pop(MANIFEST_NAME, None) is not None:
        logger.warning("%s among the extra files is left out: the archive gets its own", MANIFEST_NAME)
    return dict(sorted(entries.items()))


def handler_file(handler: str, runtime: Runtime) -> Path | None:
    """Return the file that a handler string means, or None for a built-in's name."""
    if runtime == "LSP":
        if handler in BUILT_IN_LSP_HANDLERS:
            return None
        path = handler.partition(":")[0]
        return Path(path if path.endswith((".so", ".dylib")) else f"{path}.so")
    if handler in BUILT_IN_HANDLERS:
        return None
    path = handler.partition(":")[0]
    return Path(path if path.endswith(".py") else f"{path}.py")


def _manifest_of(request: ArchiveRequest) -> Manifest:
    def base(path: Path | None) -> str | None:
        return None if path is None else path.name

    return Manifest(
        model_name=request.model_name,
        model_version=request.version,
        handler=Path(request.handler).name,
        serialized_file=base(request.serialized_file),
        model_file=base(request.model_file),
        requirements_file=base(request.requirements_file),
        config_file=base(request.config_file),
        runtime=request.runtime,
        created_on=time.strftime("%d/%m/%Y %H:%M:%S"),
        archiver_version=ARCHIVER_VERSION,
    )


def existing(path: Path) -> Path:
    """Return the path of a file that is there.

    Raises:
        NotFound: it isn't.
    """
    if not path.is_file():
        raise NotFound(f"File does not exist: {path}", hint="paths are relative to the folder you are in")
    return path


def _extras(item: str) -> Iterator[tuple[str, Path]]:
    """Yield name and file of everything that one item of ``--extra-files`` stands for."""
    paths = [Path(item)]
    if not paths[0].exists():
        if not glob.has_magic(item):
            raise NotFound(f"File does not exist: {item}", hint="--extra-files takes files, folders and patterns, separated by commas")
        paths = [Path(match) for match in sorted(glob.glob(item))]
        if not paths:
            logger.warning("no file matches %s of --extra-files", item)
    for path in paths:
        if path.is_dir():
            yield from _contents(path)
        else:
            yield path.name, path


def _contents(folder: Path) -> Iterator[tuple[str, Path]]:
    count = 0
    for root, folders, files in os.walk(folder, followlinks=True):
        folders[:] = sorted(name for name in folders if name not in _SKIPPED_FOLDERS and not name.startswith("."))
        for name in folders:
            if Path(root).resolve().is_relative_to(Path(root, name).resolve()):
                raise InvalidInput(f"folder {Path(root, name)} is a link to a folder that it lies in", hint="remove the link")
        for name in sorted(files):
            count += 1
            if count > UnpackLimits().entries_max:
                raise TooLarge(f"folder {folder} holds more than {UnpackLimits().entries_max} files, the most that servers unpack")
            path = existing(Path(root, name))
            yield path.relative_to(folder).as_posix(), path


def add_entry(entries: dict[str, Path], name: str, path: Path) -> None:
    """Put a file under a name into an archive; of several the last counts, with a warning."""
    before = entries.get(name)
    if before is not None and before.resolve() != path.resolve():
        logger.warning("%s takes the place of %s: both would be %s in the archive", path, before, name)
    entries[name] = path


def write_zip(
    target: Path, entries: dict[str, Path], manifest: bytes, compression: int = zipfile.ZIP_DEFLATED, *, manifest_name: str = MANIFEST_NAME
) -> None:
    """Write a zip of the entries, its manifest last."""
    with zipfile.ZipFile(target, "w", compression) as archive:
        for name, path in entries.items():
            with path.open("rb") as source, archive.open(_zip_info(name, compression), "w", force_zip64=True) as packed:
                shutil.copyfileobj(source, packed)
        archive.writestr(_zip_info(manifest_name, compression), manifest)


def _zip_info(name: str, compression: int) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name, _EARLIEST_TIME)
    info.compress_type = compression
    info.external_attr = 0o644 << 16
    return info


def _write_deflated(target: Path, model_name: str, entries: dict[str, Path], manifest: bytes) -> None:
    write_zip(target, entries, manifest)


def _write_stored(target: Path, model_name: str, entries: dict[str, Path], manifest: bytes) -> None:
    write_zip(target, entries, manifest, zipfile.ZIP_STORED)


def _write_tgz(target: Path, model_name: str, entries: dict[str, Path], manifest: bytes) -> None:
    with (
        target.open("wb") as file,
        gzip.GzipFile("", "wb", fileobj=file, mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w") as archive,
    ):
        for name, path in entries.items():
            with path.open("rb") as source:
                archive.addfile(_tar_info(f"{model_name}/{name}", os.fstat(source.fileno()).st_size), source)
        archive.addfile(_tar_info(f"{model_name}/{MANIFEST_NAME}", len(manifest)), BytesIO(manifest))


def _tar_info(name: str, size: int) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)  # mode 644, mtime 0, no owner
    info.size = size
    return info


def _write_folder(target: Path, model_name: str, entries: dict[str, Path], manifest: bytes) -> None:
    for name, path in entries.items():
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target / name)
    (target / MANIFEST_NAME).parent.mkdir(parents=True, exist_ok=True)
    (target / MANIFEST_NAME).write_bytes(manifest)


Writer = Callable[[Path, str, dict[str, Path], bytes], None]
_WRITERS: dict[ArchiveFormat, tuple[str, Writer]] = {
    "default": (".mar", _write_deflated),
    "zip-store": (".mar", _write_stored),
    "tgz": (".tar.gz", _write_tgz),
    "no-archive": ("", _write_folder),
}
ENDINGS = {archive_format: ending for archive_format, (ending, _) in _WRITERS.items()}
"""What each format's file name ends with."""
