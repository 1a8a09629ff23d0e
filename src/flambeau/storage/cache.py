"""Keep models on this machine once, by content, for all revisions and replicas and for every process that opens the same folder.

    objects/<sha256>        one file's bytes, read-only
    index/<identity>        which object a remote file is (``RemoteFile.identity`` -> sha256)
    origins/<identity>      which files an archive or a commit consists of
    partial/<identity>      bytes of a download that has not ended
    staging/<random>/       a tree being built, with <random>.lock held by its builder
    trees/<digest>/         a model: hard links to objects, read-only, published by one rename
    leases/<digest>+<holder>  who still needs a tree

Only files and locks on files: a kill -9 at any instant leaves nothing that is half there, and the next user sweeps what was abandoned.
Everything here blocks (on a disk, briefly); callers in a loop use a thread. Nothing here knows a network.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import secrets
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import quote, unquote

import orjson

from flambeau.foundation.clock import Clock, SystemClock
from flambeau.foundation.errors import FlambeauError, InvalidInput, TooLarge, Unavailable
from flambeau.foundation.files import write_atomically
from flambeau.storage.model import RemoteFile

IDLE_SECONDS_MIN = 300.0
"""A tree that was fetched this recently is not evicted: its caller may be about to lease it."""
PARTIAL_SECONDS_MAX = 24 * 3600.0
"""An unfinished download that nobody continued for this long is deleted when room is needed."""
ORIGIN_SECONDS_MAX = 30 * 24 * 3600.0
"""What came of an archive is forgotten when nobody asked for so long and room is needed."""
DISK_BYTES_SPARE = 16 << 20
"""Left free on the disk, so that logs and the store can still be written."""
DISK_FULL_ERRORS = (errno.ENOSPC, errno.EDQUOT)
HOLDER_CHARACTERS_MAX = 150
_INTACT_NANOSECONDS = 946_684_800 * 10**9
"""Modification time that an object gets when its content has been checked (1 January 2000). Any later write moves it."""


class Cache:
    """A folder of models, bounded in size.

    Args:
        root: the folder; made when first needed. One file system, with hard links.
        bytes_max: objects and unfinished downloads together stay below it, by evicting what was used least recently and isn't leased.
        clock: what "recently" means.
    """

    def __init__(self, root: Path, bytes_max: int, clock: Clock | None = None) -> None:
        self.root = root
        self.bytes_max = bytes_max
        self._clock = clock or SystemClock()

    # Leases

    def lease(self, digest: str, holder: str) -> None:
        """Keep a tree until it is released under the same name. Survives this process; leasing twice is leasing once.

        Raises:
            InvalidInput: the holder's name is too long.
        """
        with self._exclusive():
            self._lease_path(digest, holder).touch()

    def release(self, digest: str, holder: str) -> None:
        """Give a lease back; one that isn't there is none."""
        self._lease_path(digest, holder).unlink(missing_ok=True)

    def leases(self) -> dict[str, set[str]]:
        """Return the holders by digest, so that a restarted agent can release those of pods that are gone."""
        found: dict[str, set[str]] = {}
        for path in self.folder("leases").iterdir():
            digest, _, holder = path.name.partition("+")
            found.setdefault(digest, set()).add(unquote(holder))
        return found

    def _lease_path(self, digest: str, holder: str) -> Path:
        name = quote(holder, safe="")
        if not name or len(name) > HOLDER_CHARACTERS_MAX:
            raise InvalidInput(f"cannot lease {digest}: the holder's name must have 1 to {HOLDER_CHARACTERS_MAX} characters")
        return self.folder("leases") / f"{digest}+{name}"

    # What is there

    def find(self, file: RemoteFile) -> str | None:
        """Return the sha256 of a remote file whose bytes are here and intact.

        An object that somebody wrote to is hashed again, and thrown away if its content has changed.
        """
        entry_path = self.folder("index") / _hash(file.identity)
        try:
            entry = orjson.loads(entry_path.read_bytes())
            sha256, size = str(entry["sha256"]), int(entry["size"])
        except (OSError, ValueError, KeyError, TypeError):
            return None
        if size == file.size and self._is_object_intact(sha256, size):
            return sha256
        entry_path.unlink(missing_ok=True)
        return None

    def find_tree(self, digest: str, files: Iterable[RemoteFile]) -> Path | None:
        """Return a published tree with exactly these files, all intact, and note that it was used."""
        path = self.folder("trees") / digest
        try:
            for file in files:
                status = (path / file.name).lstat()
                if status.st_size != file.size or status.st_mtime_ns != _INTACT_NANOSECONDS:
                    return None
        except OSError:
            return None
        self._touch_tree(path)
        return path

    def remember(self, identity: str, files: Iterable[RemoteFile]) -> None:
        """Note which files came of something (an archive, a commit), so that it need not be fetched to know them."""
        lines = [{"name": file.name, "key": file.key, "size": file.size, "identity": file.identity} for file in files]
        write_atomically(self.folder("origins") / _hash(identity), orjson.dumps(lines))

    def remembered(self, identity: str) -> list[RemoteFile] | None:
        """Return the files that came of something, None where that isn't known."""
        path = self.folder("origins") / _hash(identity)
        try:
            files = [RemoteFile(**line, etag=None) for line in orjson.loads(path.read_bytes())]
            now = self._clock.wall()
            os.utime(path, (now, now))
        except (OSError, ValueError, TypeError):
            return None
        return files

    def partial_path(self, file: RemoteFile) -> Path:
        """Return where an unfinished download of this very content is kept."""
        return self.folder("partial") / _hash(file.identity)

    def folder(self, name: str) -> Path:
        """Return a folder of the cache, making it if need be."""
        path = self.root / name
        if not path.is_dir():
            self.root.mkdir(mode=0o700, parents=True, exist_ok=True)  # what a Secret protects in a bucket isn't everybody's here
            path.mkdir(mode=0o711 if name == "trees" else 0o700, exist_ok=True)  # trees alone are used by others, who know their names
        return path

    def _object_path(self, sha256: str) -> Path:
        return self.folder("objects") / sha256

    def _is_object_intact(self, sha256: str, size: int) -> bool:
        path = self._object_path(sha256)
        try:
            status = path.stat()
            if status.st_size == size and status.st_mtime_ns == _INTACT_NANOSECONDS:
                return True
            if status.st_size == size and _hash_file(path) == sha256:
                _mark_intact(path)
                return True
        except OSError:
            return False
        path.unlink(missing_ok=True)
        return False

    def _touch_tree(self, path: Path) -> None:
        now = self._clock.wall()
        os.utime(path, (now, now))

    # Building a tree

    @contextmanager
    def staging(self) -> Iterator[Staging]:
        """Open a tree to build; what was not published is removed at the end."""
        folder = self.folder("staging")
        name = secrets.token_hex(8)
        with self._exclusive():
            lock = os.open(folder / f"{name}.lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
            fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            path = folder / name
            path.mkdir()
            yield Staging(self, path)
        finally:
            _remove_tree(folder / name)
            (folder / f"{name}.lock").unlink(missing_ok=True)
            os.close(lock)

    def publish(self, staged: Path, digest: str, files: Iterable[RemoteFile]) -> Path:
        """Move a finished tree to its place. One that stands there stays, since somebody may be reading it, unless it is damaged."""
        path = self.folder("trees") / digest
        for folder, _, _ in os.walk(staged, topdown=False):
            # The top one keeps its write bit until it is in place: a directory without it can't be renamed by an ordinary user.
            if Path(folder) != staged:
                Path(folder).chmod(0o555)
        damaged: Path | None = None
        with self._exclusive():
            if self.find_tree(digest, files) is not None:
                return path
            if path.exists():
                damaged = self._hide(path)
            staged.rename(path)
            path.chmod(0o555)
        self._touch_tree(path)
        if damaged is not None:
            _remove_tree(damaged)
        return path

    def add_object(self, file: RemoteFile, content: Path, sha256: str, link: Path) -> None:
        """Take over a finished download: it becomes an object, the index knows it, and a tree being built has it.

        Args:
            file: what it is.
            content: the downloaded file, on this file system; gone afterwards.
            sha256: of its content.
            link: its place in the tree. Made first, so that no eviction can take the bytes in between.
        """
        target = self._object_path(sha256)
        with content.open("rb") as written:
            os.fsync(written.fileno())
        _mark_intact(content)
        if not (self._is_object_intact(sha256, file.size) and _link(target, link)):
            os.link(content, link)
            with suppress(FileExistsError):  # the same content came under another name, a moment ago
                os.link(content, target)
        entry = {"sha256": sha256, "size": file.size, "identity": file.identity}
        write_atomically(self.folder("index") / _hash(file.identity), orjson.dumps(entry))
        # Others wait for the lock on this very file: its name goes only when the index tells them where its bytes are. It stays writable
        # until then, since a download that is killed here is gone on with.
        content.unlink()
        target.chmod(0o444)

    def link_object(self, sha256: str, link: Path) -> bool:
        """Give a tree being built an object that is here; False if it has just been evicted."""
        return _link(self._object_path(sha256), link)

    # Room

    def make_room(self, bytes_total: int, bytes_needed: int) -> None:
        """Evict until a model fits, within the cache's size and on the disk.

        Args:
            bytes_total: the whole model.
            bytes_needed: what of it is still to be downloaded.

        Raises:
            TooLarge: the model alone is larger than the cache (ModelTooLarge).
            Unavailable: what is leased or in use leaves too little (CacheFull), or the disk does (DiskFull).
        """
        if bytes_total > self.bytes_max:
            raise TooLarge(
                f"the model has {_readable(bytes_total)}, but the model cache at most {_readable(self.bytes_max)}",
                hint="raise the cache's size: flambeau up --cache-gib",
                reason="ModelTooLarge",
            )
        self._sweep()
        while True:
            used = self._bytes_used()
            free = shutil.disk_usage(self.folder("objects")).free - DISK_BYTES_SPARE
            if used + bytes_needed <= self.bytes_max and bytes_needed <= free:
                return
            if self._evict_something():
                continue
            if bytes_needed > free:
                there = f"{_readable(max(0, free))} are free beyond a reserve of {_readable(DISK_BYTES_SPARE)}"
                raise disk_full(self.root, f"{_readable(bytes_needed)} are needed, {there}")
            raise Unavailable(
                f"the model cache is full: {_readable(used)} of {_readable(self.bytes_max)} are in use by running models, "
                f"{_readable(bytes_needed)} more are needed",
                hint="delete models that are no longer needed, or raise the cache's size: flambeau up --cache-gib",
                reason="CacheFull",
            )

    def _bytes_used(self) -> int:
        return sum(status.st_size for name in ("objects", "partial") for _, status in _entries(self.folder(name)))

    def drop_loose(self) -> bool:
        """Delete objects that no tree has and downloads that nobody continues; return whether there were any."""
        with self._exclusive():
            loose = [path for path, status in _entries(self.folder("partial")) if self._is_past(status, PARTIAL_SECONDS_MAX)]
            loose += [path for path, status in _entries(self.folder("objects")) if status.st_nlink == 1]
            for path in loose:
                path.unlink(missing_ok=True)
            if loose:
                self._forget_missing()
            return bool(loose)

    def _evict_something(self) -> bool:
        """Delete what is missed least; return whether there was anything."""
        if self.drop_loose():
            return True
        with self._exclusive():
            tree = self._least_recent_tree()
            hidden = self._hide(tree) if tree else None
        if hidden is None:
            return False
        _remove_tree(hidden)
        return True

    def _least_recent_tree(self) -> Path | None:
        leased = self.leases()
        trees = [
            (status.st_mtime, path)
            for path, status in _entries(self.folder("trees"))
            if path.name not in leased and self._is_past(status, IDLE_SECONDS_MIN)
        ]
        return min(trees)[1] if trees else None

    def _is_past(self, status: os.stat_result, seconds: float) -> bool:
        """Tell whether a file's time is longer ago, or still to come: then the clock has been set back, and nobody knows how long ago."""
        age = self._clock.wall() - status.st_mtime
        return age > seconds or age < -seconds

    def _forget_missing(self) -> None:
        """Drop index entries whose object is gone."""
        present = {path.name for path, _ in _entries(self.folder("objects"))}
        for path, _ in _entries(self.folder("index")):
            try:
                known = orjson.loads(path.read_bytes())["sha256"] in present
            except (OSError, ValueError, KeyError, TypeError):
                known = False
            if not known:
                path.unlink(missing_ok=True)
        for path, status in _entries(self.folder("origins")):
            if self._is_past(status, ORIGIN_SECONDS_MAX):
                path.unlink(missing_ok=True)

    def _hide(self, tree: Path) -> Path:
        """Take a tree out of sight in one step; the caller deletes it."""
        tree.chmod(0o755)
        hidden = self.folder("staging") / f"evicted-{secrets.token_hex(8)}"
        tree.rename(hidden)
        return hidden

    def _sweep(self) -> None:
        """Remove the trees of builders that have died, which is those whose lock is free, and evictions that were interrupted."""
        staging = self.folder("staging")
        with self._exclusive():
            for lock in staging.glob("*.lock"):
                with suppress(FileNotFoundError), lock.open("rb") as file, suppress(BlockingIOError):
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    _remove_tree(lock.with_suffix(""))
                    lock.unlink(missing_ok=True)
        for evicted in staging.glob("evicted-*"):
            _remove_tree(evicted)

    @contextmanager
    def _exclusive(self) -> Iterator[None]:
        """Hold the lock that eviction, leasing and publishing share, between processes too. Short."""
        with (self.folder(".") / "lock").open("ab") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield


class Staging:
    """A tree being built; see ``Cache.staging``."""

    def __init__(self, cache: Cache, path: Path) -> None:
        self._cache = cache
        self._path = path

    def place(self, name: str) -> Path:
        """Return where a file of the tree goes, its folder made."""
        path = self._path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def publish(self, digest: str, files: Iterable[RemoteFile]) -> Path:
        """Make the tree visible, whole; return its path."""
        return self._cache.publish(self._path, digest, files)


def tree_digest(contents: Mapping[str, str]) -> str:
    """Return sha256 over names and contents.

    Args:
        contents: sha256 by name.
    """
    lines = (f"{sha256} {name}\0" for name, sha256 in sorted(contents.items()))
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _hash_file(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def disk_full(root: Path, cause: str) -> Unavailable:
    """Return the error for a disk without room."""
    return Unavailable(
        f"the disk of the model cache {root} is full: {cause}",
        hint="free space there, or move the cache to a larger disk",
        reason="DiskFull",
    )


def disk_error(root: Path, error: OSError) -> FlambeauError:
    """Return the error for a disk that refused."""
    if error.errno in DISK_FULL_ERRORS:
        return disk_full(root, str(error.strerror))
    return Unavailable(f"cannot use the model cache {root}: {error}", hint="check the folder's owner and file system", reason="CacheBroken")


def _hash(identity: str) -> str:
    return hashlib.sha256(identity.encode()).hexdigest()


def _mark_intact(path: Path) -> None:
    os.utime(path, ns=(_INTACT_NANOSECONDS, _INTACT_NANOSECONDS))


def _link(target: Path, link: Path) -> bool:
    try:
        os.link(target, link)
    except FileNotFoundError:
        return False
    except OSError as error:
        if error.errno != errno.EMLINK:  # ext4 takes 65000 links to one file; empty files reach that
            raise
        shutil.copyfile(target, link)
        link.chmod(0o444)
        _mark_intact(link)
    return True


def _entries(folder: Path) -> Iterator[tuple[Path, os.stat_result]]:
    """Yield what is in a folder; what vanishes meanwhile is left out."""
    for path in list(folder.iterdir()):
        with suppress(FileNotFoundError):
            yield path, path.lstat()


def _remove_tree(path: Path) -> None:
    for folder, _, _ in os.walk(path):
        with suppress(FileNotFoundError):
            Path(folder).chmod(0o755)
    with suppress(FileNotFoundError):
        shutil.rmtree(path)


def _readable(size: int) -> str:
    for unit, factor in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if size >= factor:
            return f"{size / factor:.1f} {unit}"
    return f"{size} bytes"
