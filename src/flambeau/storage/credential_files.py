"""Credentials as files that only this user may read: the control plane leaves them for the gateway, which outlives it.

A file's name is made from its content, so a name in a document says whether anything changed, and nothing of what it is.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import orjson

from flambeau.foundation.errors import Unavailable
from flambeau.foundation.files import write_atomically
from flambeau.storage.model import Credentials, Setting

_SUFFIX = ".json"


def leave(credentials: Credentials, folder: Path) -> Path:
    """Write credentials into a folder, which is made for this user alone, unless they are there already; return the file. Blocks.

    Raises:
        Unavailable: the disk refuses.
    """
    settings = {name: [setting.value, setting.source] for name, setting in credentials.settings.items()}
    content = orjson.dumps({"settings": settings, "warnings": credentials.warnings}, option=orjson.OPT_SORT_KEYS)
    path = folder / f"{hashlib.sha256(content).hexdigest()}{_SUFFIX}"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not path.exists():
            write_atomically(path, content, mode=0o600, synced=False)
    except OSError as error:
        raise Unavailable(f"cannot leave credentials in {folder}: {error.strerror}") from error
    return path


def find(path: Path) -> Credentials:
    """Return the credentials that a file holds. Blocks.

    Raises:
        Unavailable: it can't be read.
    """
    try:
        found = orjson.loads(path.read_bytes())
        settings = {name: Setting(value, source) for name, (value, source) in found["settings"].items()}
        return Credentials(settings, tuple(found["warnings"]))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise Unavailable(f"cannot read the credentials in {path}: {type(error).__name__}") from error


def clean(folder: Path, kept: frozenset[Path]) -> None:
    """Delete the credentials of a folder that nobody needs any more. Blocks; what can't be deleted now is left for the next time."""
    for path in folder.glob(f"*{_SUFFIX}"):
        if path not in kept:
            path.unlink(missing_ok=True)
