"""Write files into an object store or a folder of this machine: a logger's copies of requests. The gateway calls it, and loads it late."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Protocol

from flambeau.foundation.errors import InvalidInput, Unavailable
from flambeau.foundation.files import is_safe_relative, write_atomically
from flambeau.storage.buckets import bucket_of
from flambeau.storage.deposit_uri import DepositUri
from flambeau.storage.model import Credentials
from flambeau.storage.uri import AzureUri, GcsUri, S3Uri


class Deposit(Protocol):
    """A place that files can be written to."""

    async def put(self, key: str, content: bytes) -> None:
        """Write a file, in place of one that may be there.

        Args:
            key: where below the bucket, or below the root of this machine; without a leading slash.
            content: the whole of it.

        Raises:
            FlambeauError: it can't be written; the text says why.
        """


def deposit_at(where: DepositUri, credentials: Credentials) -> Deposit:
    """Return a place to write to, as some credentials see it.

    Raises:
        Denied, InvalidInput: the credentials are missing or can't be used.
    """
    return bucket_of(where, credentials) if isinstance(where, S3Uri | GcsUri | AzureUri) else _Disk()


class _Disk:
    """This machine's own."""

    async def put(self, key: str, content: bytes) -> None:
        """Write a file and the folders above it; only this user may read it.

        Raises:
            InvalidInput: the key leads elsewhere.
            Unavailable: the disk refuses.
        """
        if not is_safe_relative(key):
            raise InvalidInput(f"cannot write {key!r}: it is no safe path", reason="InvalidStorageUri")
        path = Path("/") / key

        def write() -> None:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(path, content, mode=0o600, synced=False)

        try:
            await asyncio.to_thread(write)
        except OSError as error:
            raise Unavailable(f"cannot write {path}: {error.strerror}", reason="DiskRefused") from error
