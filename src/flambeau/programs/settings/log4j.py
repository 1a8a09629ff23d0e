"""The levels in a log4j2 XML file, which is all of it that means something without Java.

Read by expat with neither document types nor entities, so that nothing is expanded and nothing else is opened. Pure but for the file.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import unquote, urlsplit
from xml.parsers import expat

from flambeau.foundation.errors import InvalidInput, NotFound

FILE_BYTES_MAX = 1_048_576
ROOT = "Root"
_LEVELS = {
    "off": "OFF",
    "fatal": "CRITICAL",
    "error": "ERROR",
    "warn": "WARNING",
    "info": "INFO",
    "debug": "DEBUG",
    "trace": "DEBUG",
    "all": "DEBUG",
}
"""log4j's word -> ours; OFF is above every level."""
_VM_ARGUMENT = re.compile(r"-Dlog4j2?\.configurationFile=(\S+)")


def log4j_file_of(vmargs: str) -> str | None:
    """Return the file that ``-Dlog4j.configurationFile=`` names in vmargs, as a path."""
    found = _VM_ARGUMENT.search(vmargs)
    if found is None:
        return None
    parts = urlsplit(found[1])
    return unquote(parts.path) if parts.scheme == "file" else found[1]


def read_levels(path: Path, *, source: str) -> Mapping[str, str]:
    """Return logger -> level as a log4j2 XML file has them; the root logger is called ``Root``.

    Args:
        path: the file.
        source: who named it, for messages.

    Raises:
        NotFound: there is no such file.
        InvalidInput: it is too large or no such XML.
    """
    if not path.is_file():
        raise NotFound(f"{source} not found: {path}", reason="ConfigNotFound")
    try:
        if path.stat().st_size > FILE_BYTES_MAX:
            raise InvalidInput(f"cannot read {source} {path}: it is over {FILE_BYTES_MAX} bytes", reason="InvalidConfiguration")
        return _levels_in(path.read_bytes())
    except (OSError, ValueError, expat.ExpatError) as error:
        raise InvalidInput(
            f"cannot read {source} {path}: {error}", hint="it must be a log4j2 XML file", reason="InvalidConfiguration"
        ) from error


def _levels_in(text: bytes) -> Mapping[str, str]:
    levels: dict[str, str] = {}

    def start(name: str, attributes: dict[str, str]) -> None:
        lower = {key.lower(): value for key, value in attributes.items()}
        level = _LEVELS.get(lower.get("level", "").strip().lower())
        if level is not None and name.lower() in ("root", "asyncroot"):
            levels[ROOT] = level
        elif level is not None and name.lower() in ("logger", "asynclogger") and lower.get("name"):
            levels[lower["name"]] = level

    def refuse(*_: object) -> None:
        raise ValueError("document types and entities are not read")

    parser = expat.ParserCreate()
    parser.StartElementHandler = start
    parser.StartDoctypeDeclHandler = refuse
    parser.EntityDeclHandler = refuse
    parser.Parse(text, True)
    return levels
