"""Read a model's URI. Pure: admission calls it too, so it never looks at a disk or a network."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import PurePosixPath

from flambeau.foundation.errors import InvalidInput

SCHEMES = ("s3://", "file://")
"""What ``fetch`` can read, as people write it."""

_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,254}")
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


@dataclass(frozen=True, slots=True)
class S3Uri:
    """``s3://bucket/prefix``."""

    bucket: str
    prefix: str
    """Without leading slashes; a trailing one says that it can only be a directory. Empty: the whole bucket."""

    def __str__(self) -> str:
        return f"s3://{self.bucket}/{self.prefix}"


@dataclass(frozen=True, slots=True)
class FileUri:
    """``file:///path``, or an absolute path alone."""

    path: PurePosixPath

    def __str__(self) -> str:
        return f"file://{self.path}"


def validate_uri(uri: str) -> None:
    """Refuse a URI that no fetch can succeed with.

    Raises:
        InvalidInput: as ``parse_uri``.
    """
    parse_uri(uri)


def parse_uri(uri: str) -> S3Uri | FileUri:
    """Return what a URI names. A key is taken as written: nothing is percent-decoded, ``?`` and ``#`` belong to it.

    Raises:
        InvalidInput: reason UnsupportedScheme for a scheme that isn't known, InvalidStorageUri for anything else.
    """
    if _CONTROL.search(uri) or uri != uri.strip():
        raise InvalidInput(
            f"cannot read the storage URI {uri!r}: it contains blanks at an end or control characters",
            hint="write it without them",
            reason="InvalidStorageUri",
        )
    if uri.startswith("s3://"):
        return _parse_s3(uri)
    if uri.startswith("file://"):
        return FileUri(_absolute(uri, uri.removeprefix("file://")))
    if uri.startswith("/"):
        return FileUri(_absolute(uri, uri))
    scheme = _SCHEME.match(uri)
    raise InvalidInput(
        f"cannot read the storage URI {uri!r}: "
        + (f"the scheme {scheme.group()} is not supported" if scheme else "it has no scheme and is no absolute path"),
        hint=f"use one of {', '.join(SCHEMES)} or an absolute path",
        reason="UnsupportedScheme",
    )


def _parse_s3(uri: str) -> S3Uri:
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    if not _BUCKET.fullmatch(bucket):
        raise InvalidInput(
            f"cannot read the storage URI {uri!r}: " + (f"{bucket!r} is no bucket name" if bucket else "it names no bucket"),
            hint="write s3://BUCKET/PREFIX",
            reason="InvalidStorageUri",
        )
    prefix = key.lstrip("/")
    steps = prefix.removesuffix("/").split("/") if prefix else []
    if "\\" in prefix or any(step in ("", ".", "..") for step in steps):
        raise InvalidInput(
            f"cannot read the storage URI {uri!r}: its path has an empty, '.' or '..' step or a backslash",
            hint="write the plain path of the object or directory",
            reason="InvalidStorageUri",
        )
    return S3Uri(bucket, prefix)


def _absolute(uri: str, path: str) -> PurePosixPath:
    if not path.startswith("/") or ".." in path.split("/"):
        raise InvalidInput(
            f"cannot read the storage URI {uri!r}: the path must be absolute and without '..'",
            hint="write file:///absolute/path",
            reason="InvalidStorageUri",
        )
    return PurePosixPath(path)
