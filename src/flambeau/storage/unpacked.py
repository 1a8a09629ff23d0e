"""Bring a model that comes as one archive, or as a folder that a command made: its files go into the cache each for itself.

An archive is remembered by its identity: while its files are in the cache, it is neither downloaded nor unpacked again.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path, PurePosixPath

from flambeau.foundation.errors import InvalidInput, NotFound, TooLarge, Unavailable
from flambeau.foundation.unpack_guard import UnpackLimits
from flambeau.foundation.unpacking import Form, extract, form_of, read_head
from flambeau.storage.cache import Cache, Staging, disk_error
from flambeau.storage.download import in_thread, obtain
from flambeau.storage.model import SIZE_UNKNOWN, Fetched, OnProgress, RemoteFile
from flambeau.storage.source import Bytes

ARCHIVE_SUFFIXES = (".zip", ".tar", ".tar.gz", ".tgz")
"""A model archive (.mar) is not unpacked: the model server wants it whole."""
READ_BYTES = 1 << 20


async def bring(files: Sequence[RemoteFile], source: Bytes, cache: Cache, on_progress: OnProgress | None = None) -> Fetched:
    """Return a directory with a model's files; a model that is exactly one archive is unpacked.

    Raises:
        InvalidInput: the archive is damaged or unsafe (BadArchive).
        FlambeauError: as ``obtain``.
    """
    only = files[0]
    is_plain = only.size != SIZE_UNKNOWN and only.identity and not _is_archive(only)
    if len(files) > 1 or is_plain:
        return await obtain(files, source, cache, on_progress)
    try:
        known = await in_thread(known_files, cache, only.identity) if only.identity else None
        if known is not None:
            return await obtain(known, Gone(), cache, on_progress)
        with cache.staging() as staging:
            brought, found = await _bring_one(only, source, cache, staging, on_progress)
        if only.identity:
            await in_thread(cache.remember, only.identity, found)
    except OSError as error:
        raise disk_error(cache.root, error) from error
    return replace(brought, from_cache=False)


async def _bring_one(
    file: RemoteFile, source: Bytes, cache: Cache, staging: Staging, on_progress: OnProgress | None
) -> tuple[Fetched, list[RemoteFile]]:
    """Bring a file that has to be looked into: an archive, or one whose size or version nobody tells. Return what it consists of, too."""
    files = [file]
    if file.size == SIZE_UNKNOWN or not file.identity:
        path = staging.place(f"download/{file.name}")
        await _spool(file, source, path, cache.bytes_max)
        files, source = await in_thread(files_of, path.parent, ""), FolderBytes(path.parent)
    fetched = await obtain(files, source, cache, on_progress)
    if not _is_archive(file):
        return fetched, files
    folder = staging.place("unpacked/.").parent
    await in_thread(_unpack, fetched.path / file.name, folder, cache)
    files = await in_thread(files_of, folder, file.identity)
    return await obtain(files, FolderBytes(folder), cache, on_progress), files


def _is_archive(file: RemoteFile) -> bool:
    return file.name.lower().endswith(ARCHIVE_SUFFIXES)


async def keep(make: Callable[[Path], Awaitable[None]], cache: Cache, on_progress: OnProgress | None = None) -> Fetched:
    """Return a directory with the files that somebody else fetches into an empty folder.

    Raises:
        NotFound: there were none (NoObjects).
        FlambeauError: whatever ``make`` raises.
    """
    try:
        with cache.staging() as staging:
            folder = staging.place("made/.").parent
            await make(folder)
            fetched = await obtain(await in_thread(files_of, folder, ""), FolderBytes(folder), cache, on_progress)
    except OSError as error:
        raise disk_error(cache.root, error) from error
    return replace(fetched, from_cache=False)


def known_files(cache: Cache, identity: str) -> list[RemoteFile] | None:
    """Return the files that came of an archive, if all are in the cache."""
    files = cache.remembered(identity)
    return files if files and all(cache.find(file) is not None for file in files) else None


def _unpack(archive: Path, folder: Path, cache: Cache) -> None:
    form = form_of(read_head(archive))
    if form is Form.OTHER:
        raise InvalidInput(
            f"cannot unpack {archive.name}: it is neither a zip nor a tar",
            hint="the server may have sent an error page under its name; upload the archive again",
            reason="BadArchive",
        )
    limits = UnpackLimits()
    try:
        extract(archive, folder, form, replace(limits, expanded_bytes_max=min(limits.expanded_bytes_max, cache.bytes_max)))
    except InvalidInput as error:
        raise InvalidInput(error.message, hint=error.hint, reason="BadArchive") from error
    except Unavailable as error:
        if isinstance(error.__cause__, OSError):
            raise disk_error(cache.root, error.__cause__) from error
        raise


def files_of(folder: Path, origin: str) -> list[RemoteFile]:
    """Return a folder's files as remote ones, sorted by name. Blocks, on the disk.

    Args:
        folder: where they are; links are not followed.
        origin: what they came of, if that names their content; without it, their content is hashed.

    Raises:
        NotFound: there are none (NoObjects).
    """
    files = []
    for parent, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if name != ".git")
        for name in names:
            path = Path(parent, name)
            if path.is_symlink() or not path.is_file():
                continue
            relative = str(PurePosixPath(path.relative_to(folder)))
            size = path.stat().st_size
            identity = "\n".join((origin, relative, str(size))) if origin else f"sha256 {_sha256(path)} {size}"
            files.append(RemoteFile(name=relative, key=relative, size=size, etag=None, identity=identity))
    if not files:
        raise NotFound("the model holds no files", hint="check what the storage URI names", reason="NoObjects")
    return sorted(files, key=lambda file: file.name)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


async def _spool(file: RemoteFile, source: Bytes, path: Path, bytes_max: int) -> None:
    """Write a file of unknown size or version to the disk. It can't be resumed: nothing tells whether it is still the same."""
    written = 0
    with path.open("wb") as target:
        async with aclosing(source.read(file, 0)) as chunks:
            async for chunk in chunks:
                written += len(chunk)
                if written > bytes_max:
                    raise TooLarge(f"the model is larger than the model cache ({bytes_max} bytes)", reason="ModelTooLarge")
                await in_thread(target.write, chunk)


class FolderBytes:
    """Files of a folder on this machine."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def read(self, file: RemoteFile, offset: int) -> AsyncGenerator[bytes, None]:
        """Yield a file's bytes from an offset."""
        with (self._folder / file.key).open("rb") as opened:
            opened.seek(offset)
            while chunk := await in_thread(opened.read, READ_BYTES):
                yield chunk


class Gone:
    """What was unpacked once and is in the cache, unless it has just been evicted."""

    async def read(self, file: RemoteFile, offset: int) -> AsyncGenerator[bytes, None]:
        """Refuse."""
        raise Unavailable(f"{file.name} was evicted from the model cache a moment ago (byte {offset})", reason="CacheFull")
        yield b""  # makes it a generator
