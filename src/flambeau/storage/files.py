"""Read models that are on this machine already: nothing is copied, a directory is used where it is.

The files belong to their owner, who may change them under a running model; their digest is therefore over names, sizes and modification
times, so that a changed directory is a different model for whoever compares digests.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from flambeau.foundation.errors import Denied, InvalidInput, NotFound, TooLarge, Unavailable
from flambeau.storage.cache import Cache
from flambeau.storage.model import Fetched

FILES_MAX = 100_000
"""Below one directory."""


@dataclass(frozen=True, slots=True)
class LocalPlace:
    """Where on this machine a model lies."""

    path: Path
    name: str
    """What errors call it: its URI, and the path where that says another one."""


def use_in_place(place: LocalPlace, cache: Cache) -> Fetched:
    """Return a directory as it is; a single file, as KServe does, in a directory where it stands alone (as a symbolic link).

    Blocks on the disk.

    Raises:
        NotFound: there is nothing (PathNotFound), or a directory without files (NoObjects).
        Denied: the path can't be read (StorageAccessDenied).
        InvalidInput: it is neither a file nor a directory.
        TooLarge: more than FILES_MAX files.
        Unavailable: the disk refused (DiskError).
    """
    with _sentences(place):
        return _single(place.path, cache) if _is_file(place) else _directory(place)


def survey(place: LocalPlace) -> tuple[int, int]:
    """Return how many files and bytes there are; raises what ``use_in_place`` raises."""
    with _sentences(place):
        found = [status for _, status in _walk(place)] if not _is_file(place) else [place.path.stat()]
    return len(found), sum(status.st_size for status in found)


@contextmanager
def _sentences(place: LocalPlace) -> Iterator[None]:
    """Turn the operating system's errors into ours."""
    try:
        yield
    except (FileNotFoundError, NotADirectoryError) as error:
        raise NotFound(
            f"cannot read {place.name}: there is no such file or directory on this machine",
            hint=_nearest(place.path),
            reason="PathNotFound",
        ) from error
    except PermissionError as error:
        raise Denied(
            f"cannot read {place.name}: permission denied for {error.filename or place.path}",
            hint="make it readable for the user who runs flambeau",
            reason="StorageAccessDenied",
        ) from error
    except OSError as error:
        raise Unavailable(f"cannot read {place.name}: {error}", reason="DiskError") from error


def _is_file(place: LocalPlace) -> bool:
    mode = place.path.stat().st_mode
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
        raise InvalidInput(f"cannot read {place.name}: it is neither a file nor a directory", reason="InvalidStorageUri")
    return stat.S_ISREG(mode)


def _directory(place: LocalPlace) -> Fetched:
    found = list(_walk(place))
    return Fetched(
        path=place.path,
        digest=_digest(place.path, found),
        files=len(found),
        bytes=sum(status.st_size for _, status in found),
        from_cache=True,
    )


def _single(path: Path, cache: Cache) -> Fetched:
    status = path.stat()
    if not os.access(path, os.R_OK):
        raise PermissionError(None, None, str(path))
    digest = _digest(path.parent, [(path.name, status)])
    folder = cache.folder("single") / digest
    folder.mkdir(exist_ok=True)
    with suppress(FileExistsError):  # the digest covers the path: a link that is there is the right one
        (folder / path.name).symlink_to(path)
    return Fetched(path=folder, digest=digest, files=1, bytes=status.st_size, from_cache=True)


def _walk(place: LocalPlace) -> Iterator[tuple[str, os.stat_result]]:
    """Yield names and what they are, links followed to files but not to directories."""
    count = 0
    for folder, _, names in os.walk(place.path, onerror=_raise):
        for name in names:
            file = Path(folder, name)
            count += 1
            if count > FILES_MAX:
                raise TooLarge(f"cannot read {place.name}: there are more than {FILES_MAX} files", hint="name a directory below it")
            yield str(file.relative_to(place.path)), file.stat()
    if not count:
        raise NotFound(f"cannot read {place.name}: the directory has no files", hint="check the storage URI", reason="NoObjects")


def _raise(error: OSError) -> None:
    raise error


def _digest(path: Path, files: list[tuple[str, os.stat_result]]) -> str:
    lines = (f"{name}\0{status.st_size}\0{status.st_mtime_ns}\0" for name, status in sorted(files, key=lambda file: file[0]))
    return hashlib.sha256("".join((f"{path}\0", *lines)).encode(errors="surrogateescape")).hexdigest()


def _nearest(path: Path) -> str:
    for parent in path.parents:
        if parent.is_dir():
            return f"the nearest directory that exists is {parent}"
    return "check the storage URI"
