"""Try whether a model can be read, and gather what a person needs to see why not: ``flambeau storage test``."""

from __future__ import annotations

from contextlib import aclosing
from dataclasses import dataclass, field
from pathlib import Path

from flambeau.foundation.clock import Clock
from flambeau.foundation.errors import FlambeauError
from flambeau.storage import credentials as names
from flambeau.storage import files
from flambeau.storage.download import in_thread
from flambeau.storage.fetch import local_place, source_of
from flambeau.storage.git import commit_of
from flambeau.storage.model import SIZE_UNKNOWN, Credentials
from flambeau.storage.uri import ClaimUri, FileUri, GitUri, parse_uri

READ_BYTES_MAX = 64 * 1024
"""Of the smallest file that isn't empty, to see that objects can be read and not only listed."""
_KEY_ID_CHARACTERS_SHOWN = 4


@dataclass(slots=True)
class Trial:
    """What came of it, filled in as far as it got."""

    uri: str
    facts: dict[str, str] = field(default_factory=dict)
    """Identity, endpoint, TLS, region and so on, in words."""
    files: int | None = None
    """None where only the whole can be had: a git repository."""
    bytes: int | None = None
    """None where the server doesn't say."""
    list_seconds: float | None = None
    read_seconds: float | None = None
    error: FlambeauError | None = None


async def try_uri(uri: str, credentials: Credentials, clock: Clock, volumes: Path | None = None) -> Trial:
    """List what a URI names and read a little of it. Nothing is kept; an error is part of the answer."""
    trial = Trial(uri)
    try:
        await _try(trial, credentials, clock, volumes)
    except FlambeauError as error:
        trial.error = error
    return trial


async def _try(trial: Trial, credentials: Credentials, clock: Clock, volumes: Path | None) -> None:
    where = parse_uri(trial.uri)
    started = clock.monotonic()
    if isinstance(where, FileUri | ClaimUri | GitUri):
        trial.facts = {"place": str(where)}
        if isinstance(where, GitUri):
            trial.facts["commit"] = await commit_of(where, credentials)
        else:
            trial.files, trial.bytes = await in_thread(files.survey, local_place(where, volumes))
        trial.list_seconds = clock.monotonic() - started
        return
    source = source_of(where, credentials)
    trial.facts = source.facts()
    listed = await source.list_files()
    trial.list_seconds = clock.monotonic() - started
    sizes = [file.size for file in listed]
    trial.files, trial.bytes = len(listed), None if SIZE_UNKNOWN in sizes else sum(sizes)
    started, received = clock.monotonic(), 0
    readable = min((file for file in listed if file.size), key=lambda file: file.size, default=listed[0])
    async with aclosing(source.read(readable, 0)) as chunks:
        async for chunk in chunks:
            received += len(chunk)
            if received >= READ_BYTES_MAX:
                break
    trial.read_seconds = clock.monotonic() - started


def shown(name: str, value: str) -> str:
    """Return a setting's value as people may see it."""
    if name in names.SECRETS or name.endswith(names.HEADERS_SUFFIX):
        return "***"
    if name == names.CA_BUNDLE_TEXT:
        return f"{len(value)} characters of PEM"
    return f"{value[:_KEY_ID_CHARACTERS_SHOWN]}…" if name == names.ACCESS_KEY_ID else value
