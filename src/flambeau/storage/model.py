"""The words of this room: what to fetch, with what identity, and what came of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Setting:
    """A value and where it came from, so that ``storage test`` and errors can say so."""

    value: str = field(repr=False)
    source: str = ""
    """``secret torchserve/s3creds annotation serving.kserve.io/s3-endpoint``."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """What KServe would have put into the initializer's environment, by variable name (specification 3.3 and 3.4).

    Secrets never print: ``repr`` shows names only.
    """

    settings: dict[str, Setting] = field(default_factory=dict, repr=False)
    warnings: tuple[str, ...] = ()
    """Secrets that contributed nothing and why (keys found, keys expected)."""

    def get(self, name: str) -> str | None:
        """Return a value, or None where it isn't set."""
        setting = self.settings.get(name)
        return None if setting is None else setting.value

    def source(self, name: str) -> str:
        """Return where a value came from, empty where it isn't set."""
        setting = self.settings.get(name)
        return "" if setting is None else setting.source


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a fetch is."""

    bytes_done: int
    bytes_total: int
    files_done: int
    files_total: int


OnProgress = Callable[[Progress], None]


SIZE_UNKNOWN = -1
"""Of a file whose server doesn't say."""


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """One file of a model, where it lies."""

    name: str
    """Path below the model's directory; safe to join (``foundation.files.is_safe_relative``)."""
    key: str
    """What the store calls it."""
    size: int
    """In bytes, or SIZE_UNKNOWN."""
    etag: str | None
    """The store's word for this very content, quotes included; None where the store gives none."""
    identity: str
    """Names the content on this machine: endpoint, bucket, key, etag and size. Equal identities, equal bytes.
    Empty where nothing tells one content from another."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """A model on this machine."""

    path: Path
    """A read-only directory that holds the model's files as below the URI's prefix. It stays until the cache evicts it, which it never
    does while a lease is held."""
    digest: str
    """sha256 over names and contents: equal digests, equal files."""
    files: int
    bytes: int
    from_cache: bool
    """Nothing had to be downloaded."""
