"""What every place that models come from can do."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Protocol

from flambeau.storage.model import RemoteFile


class Bytes(Protocol):
    """Where a listed file's bytes come from."""

    def read(self, file: RemoteFile, offset: int) -> AsyncGenerator[bytes, None]:
        """Yield a file's bytes from an offset.

        Raises:
            Unavailable: it was cut; trying again can help.
            FlambeauError: trying again can't help.
        """
        ...


class Source(Bytes, Protocol):
    """A model, where it lies."""

    def facts(self) -> dict[str, str]:
        """Return where it is and who asks, in words, for people; no secrets."""
        ...

    async def list_files(self) -> list[RemoteFile]:
        """Return the model's files, sorted by name. This always asks the place, so it also checks the credentials.

        Raises:
            FlambeauError: there are none, or the place can't be asked.
        """
        ...
