"""Bring remote files into the cache: what is here already is linked, the rest downloaded, at most once on this machine at a time.

A download that was cut, by the network or by a kill -9, goes on where it stopped, as long as the remote file is still the same.
"""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import os
import re
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import aclosing, asynccontextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

from flambeau.foundation.errors import Unavailable
from flambeau.storage.cache import DISK_FULL_ERRORS, Cache, Staging, disk_error, tree_digest
from flambeau.storage.model import Fetched, OnProgress, Progress, RemoteFile
from flambeau.storage.parallel import for_each
from flambeau.storage.source import Bytes

DOWNLOADS_PARALLEL_MAX = 4
ATTEMPTS_MAX = 5
"""To get one object; each goes on where the last one stopped."""
PAUSE_SECONDS_MIN = 0.2
PAUSE_SECONDS_MAX = 3.0
LOCK_POLL_SECONDS = 0.05
"""Between looks at a lock that another process holds: the kernel has no event for it that a loop could wait for."""

READ_BYTES = 1 << 20

_MD5_ETAG = re.compile(r'"([0-9a-f]{32})"')
Result = TypeVar("Result")


async def obtain(files: Sequence[RemoteFile], source: Bytes, cache: Cache, on_progress: OnProgress | None = None) -> Fetched:
    """Return a directory with these files, downloading what isn't here.

    Raises:
        Unavailable: the source was cut too often; the disk or the cache is full, and then nothing of this fetch is left behind.
        FlambeauError: whatever the source says.

    Cancel: complete objects and unfinished downloads stay, for the next one to go on with; nothing half there is visible.
    """
    try:
        return await _Fetch(files, source, cache, on_progress).run()
    except OSError as error:
        raise disk_error(cache.root, error) from error


class _Fetch:
    """One call of ``obtain``."""

    def __init__(self, files: Sequence[RemoteFile], source: Bytes, cache: Cache, on_progress: OnProgress | None) -> None:
        self._files = files
        self._source = source
        self._cache = cache
        self._on_progress = on_progress
        self._bytes_total = sum(file.size for file in files)
        self._bytes_by_file: dict[str, int] = {}
        self._bytes_done = 0
        self._contents: dict[str, str] = {}
        self._downloaded = False

    async def run(self) -> Fetched:
        """Find, download, publish."""
        for file in self._files:
            sha256 = await in_thread(self._cache.find, file)
            if sha256 is not None:
                self._contents[file.name] = sha256
        if len(self._contents) == len(self._files):
            digest = tree_digest(self._contents)
            path = await in_thread(self._cache.find_tree, digest, self._files)
            if path is not None:
                self._tell(self._bytes_total, len(self._files))
                return self._fetched(path, digest)
        try:
            with self._cache.staging() as staging:
                path, digest = await self._build(staging)
        except OSError as error:
            if error.errno in DISK_FULL_ERRORS:
                await in_thread(self._give_room_back)
            raise
        return self._fetched(path, digest)

    def _fetched(self, path: Path, digest: str) -> Fetched:
        return Fetched(path=path, digest=digest, files=len(self._files), bytes=self._bytes_total, from_cache=not self._downloaded)

    async def _build(self, staging: Staging) -> tuple[Path, str]:
        missing = await in_thread(self._link_known, staging)
        await in_thread(self._make_room, missing)
        await for_each(missing, lambda file: self._bring(file, staging), parallel_max=DOWNLOADS_PARALLEL_MAX, name="storage/download")
        digest = tree_digest(self._contents)
        return await in_thread(staging.publish, digest, self._files), digest

    def _link_known(self, staging: Staging) -> list[RemoteFile]:
        """Link what is here, so that it can't be evicted, and return what isn't."""
        missing = []
        for file in self._files:
            sha256 = self._contents.pop(file.name, None)
            if sha256 is not None and self._cache.link_object(sha256, staging.place(file.name)):
                self._contents[file.name] = sha256
                self._count(file, file.size)
            else:
                missing.append(file)
        return missing

    def _make_room(self, missing: Sequence[RemoteFile]) -> None:
        self._cache.make_room(self._bytes_total, sum(self._bytes_missing(file) for file in missing))

    def _bytes_missing(self, file: RemoteFile) -> int:
        try:
            return max(0, file.size - self._cache.partial_path(file).stat().st_size)
        except FileNotFoundError:
            return file.size

    def _give_room_back(self) -> None:
        """Leave nothing of this fetch on a full disk, but for what another process is downloading as well."""
        for file in self._files:
            path = self._cache.partial_path(file)
            with suppress(FileNotFoundError, BlockingIOError), path.open("rb") as partial:
                fcntl.flock(partial, fcntl.LOCK_EX | fcntl.LOCK_NB)
                path.unlink()
        self._cache.drop_loose()

    async def _bring(self, file: RemoteFile, staging: Staging) -> None:
        """Put one file into the tree. Whoever else wants it waits for the lock, then finds it there."""
        place = staging.place(file.name)
        async with _locked(self._cache.partial_path(file)) as partial:
            sha256 = await in_thread(self._cache.find, file)
            if sha256 is not None and await in_thread(self._cache.link_object, sha256, place):
                partial.path.unlink()
            else:
                self._downloaded = True
                sha256 = await self._download(file, partial)
                await in_thread(self._cache.add_object, file, partial.path, sha256, place)
        self._contents[file.name] = sha256
        self._advance(file, file.size)

    async def _download(self, file: RemoteFile, partial: _Partial) -> str:
        """Complete a partial file and return its sha256."""
        await in_thread(partial.load)
        # Bytes of an earlier process may have been damaged with the machine; where the store tells an md5, the whole is checked.
        doubtful = partial.size > 0
        for attempt in range(1, ATTEMPTS_MAX + 1):
            failure = await self._receive(file, partial)
            if failure is None and not (doubtful and partial.contradicts(file.etag)):
                return partial.sha256.hexdigest()
            if failure is None or partial.size > file.size:
                await in_thread(partial.clear)
                doubtful = False
                failure = failure or _cut(file, "the bytes kept from before were damaged")
            if attempt == ATTEMPTS_MAX:
                raise failure
            await asyncio.sleep(min(PAUSE_SECONDS_MAX, PAUSE_SECONDS_MIN * 2 ** (attempt - 1)))
        raise AssertionError("the last attempt returns or raises")

    async def _receive(self, file: RemoteFile, partial: _Partial) -> Unavailable | None:
        """Append what is missing; return why that failed, if trying again can help."""
        self._advance(file, partial.size)
        if partial.size < file.size:
            try:
                async with aclosing(self._source.read(file, partial.size)) as chunks:
                    async for chunk in chunks:
                        await in_thread(partial.append, chunk)
                        self._advance(file, partial.size)
            except Unavailable as error:
                return error
        return None if partial.size == file.size else _cut(file, f"{partial.size} bytes came instead of {file.size}")

    def _advance(self, file: RemoteFile, bytes_done: int) -> None:
        self._count(file, bytes_done)
        self._tell(self._bytes_done, len(self._contents))

    def _count(self, file: RemoteFile, bytes_done: int) -> None:
        self._bytes_done += bytes_done - self._bytes_by_file.get(file.name, 0)
        self._bytes_by_file[file.name] = bytes_done

    def _tell(self, bytes_done: int, files_done: int) -> None:
        if self._on_progress is not None:
            self._on_progress(Progress(bytes_done, self._bytes_total, files_done, len(self._files)))


def _cut(file: RemoteFile, cause: str) -> Unavailable:
    return Unavailable(f"cannot download {file.key}: {cause}", reason="DownloadCut")


class _Partial:
    """An unfinished download, locked, and the hash of what is in it."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self.size = 0
        self.sha256 = hashlib.sha256()
        self._md5: Any = None
        self._descriptor = descriptor

    def load(self) -> None:
        """Hash what is there."""
        os.lseek(self._descriptor, 0, os.SEEK_SET)
        while chunk := os.read(self._descriptor, READ_BYTES):
            if self._md5 is None:
                self._md5 = hashlib.md5(usedforsecurity=False)
            self._hash(chunk)

    def append(self, chunk: bytes) -> None:
        """Write at the end.

        Raises:
            OSError: the disk refused.
        """
        rest = memoryview(chunk)
        while rest:
            rest = rest[os.write(self._descriptor, rest) :]
        self._hash(chunk)

    def clear(self) -> None:
        """Begin anew."""
        os.ftruncate(self._descriptor, 0)
        os.lseek(self._descriptor, 0, os.SEEK_SET)
        self.size, self.sha256, self._md5 = 0, hashlib.sha256(), None

    def contradicts(self, etag: str | None) -> bool:
        """Tell whether the store's etag is the md5 of something else. Etags of multipart uploads say nothing."""
        found = _MD5_ETAG.fullmatch(etag or "")
        return found is not None and self._md5 is not None and bool(self._md5.hexdigest() != found.group(1))

    def _hash(self, chunk: bytes) -> None:
        self.size += len(chunk)
        self.sha256.update(chunk)
        if self._md5 is not None:
            self._md5.update(chunk)


@asynccontextmanager
async def _locked(path: Path) -> AsyncIterator[_Partial]:
    """Own a partial file. The wait has no bound of its own: the holder's downloads have one, and the kernel frees a dead holder's lock."""
    while True:
        descriptor = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o644)
        try:
            while not _try_lock(descriptor):  # noqa: ASYNC110 - see LOCK_POLL_SECONDS
                await asyncio.sleep(LOCK_POLL_SECONDS)
            if _is_same_file(path, descriptor):
                yield _Partial(path, descriptor)
                return
        finally:
            os.close(descriptor)


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_same_file(path: Path, descriptor: int) -> bool:
    """Tell whether a path still names an open file; its holder may have made an object of it before we got the lock."""
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False


async def in_thread(function: Callable[..., Result], *arguments: Any) -> Result:
    """Run a short blocking call in a thread; a cancellation waits for its end, so that no file is closed under it."""
    call = asyncio.get_running_loop().run_in_executor(None, function, *arguments)
    try:
        return await asyncio.shield(call)
    except asyncio.CancelledError:
        await asyncio.wait([call])
        raise
