"""Which of a remote model's files are fetched: KServe's ``STORAGE_ALLOW_PATTERNS`` and ``STORAGE_IGNORE_PATTERNS``. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from flambeau.foundation.errors import InvalidInput, NotFound
from flambeau.storage.model import RemoteFile

ALLOW = "STORAGE_ALLOW_PATTERNS"
IGNORE = "STORAGE_IGNORE_PATTERNS"


@dataclass(frozen=True, slots=True)
class Patterns:
    """Globs of names below the model's folder; ``*`` goes over slashes, and ``folder/`` means all that is in it."""

    allow: tuple[str, ...] = ()
    """Empty: every file."""
    ignore: tuple[str, ...] = ()

    def chosen(self, files: Sequence[RemoteFile], uri: str) -> list[RemoteFile]:
        """Return the files that are to be fetched.

        Raises:
            NotFound: none is left (NoObjects).
        """
        found = [file for file in files if (not self.allow or _matches(file.name, self.allow)) and not _matches(file.name, self.ignore)]
        if not found:
            raise NotFound(
                f"none of the {len(files)} files of {uri} is wanted by {ALLOW} {list(self.allow)} and {IGNORE} {list(self.ignore)}",
                hint="they stand in the environment of the ClusterStorageContainer that fetches it",
                reason="NoObjects",
            )
        return found


EVERYTHING = Patterns()


def patterns_of(environment: Mapping[str, str]) -> Patterns:
    """Return what an initializer's environment says.

    Raises:
        InvalidInput: one is neither a JSON list of texts nor texts with commas between.
    """
    return Patterns(_listed(environment, ALLOW), _listed(environment, IGNORE))


def _listed(environment: Mapping[str, str], name: str) -> tuple[str, ...]:
    text = environment.get(name, "").strip()
    if not text.startswith("["):
        return tuple(word for each in text.split(",") if (word := each.strip()))
    try:
        listed = json.loads(text)
    except ValueError:
        listed = None
    if not isinstance(listed, list) or not all(isinstance(each, str) for each in listed):
        raise InvalidInput(
            f"cannot use {name}: it is no JSON list of texts: {text}", hint='write ["*.pt", "config/*"]', reason="InvalidStorageConfig"
        )
    return tuple(listed)


def _matches(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(name, f"{pattern}*" if pattern.endswith("/") else pattern) for pattern in patterns)
