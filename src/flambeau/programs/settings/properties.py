"""Read config.properties text: Java's syntax, plus the remarks that people write after a value.

Java knows no remark after a value: ``metrics_mode=prometheus  # for Grafana`` would make the value ``prometheus  # for Grafana``. Nobody
means that, so the remark is taken off and the reader is told. Pure: text in, entries and warnings out.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass

import javaproperties

from flambeau.foundation.errors import InvalidInput

FILE_BYTES_MAX = 1_048_576
"""A config.properties above this is refused unread."""

_REMARK = re.compile(r"(?:^#(?=\s|$)|\s+#).*$", re.DOTALL)
_VARIABLE = re.compile(r"\$\$([A-Za-z_][A-Za-z0-9_]*)\$\$")


@dataclass(frozen=True, slots=True)
class Entry:
    """One ``key=value`` of the file, without remark, variables filled in."""

    key: str
    value: str
    line: int
    """Where it begins, counted from 1."""


@dataclass(frozen=True, slots=True)
class PropertiesFile:
    """What a file says."""

    entries: Mapping[str, Entry]
    """By key; of repeated keys the last counts, as in Java."""
    warnings: tuple[str, ...]


def parse_properties(text: str, environment: Mapping[str, str], *, file: str) -> PropertiesFile:
    """Return the entries of a config.properties.

    Args:
        text: the file's content.
        environment: fills in ``$$NAME$$``.
        file: the file's name, for messages.

    Raises:
        InvalidInput: an escape is malformed, or a ``$$NAME$$`` isn't in the environment; the text names file and line.
    """
    entries: dict[str, Entry] = {}
    warnings: list[str] = []
    line = 1
    try:
        for element in javaproperties.parse(text):
            if isinstance(element, javaproperties.KeyValue):
                where = f"{file} line {line}"
                value = without_remark(element.value)
                if len(value) != len(element.value):
                    warnings.append(f"{where}: took the remark after the value of {element.key} off; put remarks on lines of their own")
                if element.key in entries:
                    warnings.append(f"{where}: {element.key} is set again; line {entries[element.key].line} no longer counts")
                entries[element.key] = Entry(element.key, _filled_in(value.strip(), environment, where, element.key), line)
            line += element.source.count("\n") or element.source.count("\r")
    except javaproperties.InvalidUEscapeError as error:
        raise InvalidInput(
            f"cannot read {file}: line {line} has a malformed \\u escape: {error}",
            hint="write \\u and four hexadecimal digits",
            reason="InvalidConfiguration",
        ) from error
    return PropertiesFile(entries, tuple(warnings))


def without_remark(value: str) -> str:
    """Return a value without the ``# remark`` that follows it.

    A remark begins with ``#`` after a blank, or right after a JSON object or list. A ``#`` inside a JSON string, or glued to a word as
    in ``http://host/#part``, is part of the value.
    """
    if value.startswith(("{", "[")):
        try:
            _, end = json.JSONDecoder().raw_decode(value)
        except ValueError:
            return value  # the reader of this key will say where the JSON is broken
        return value[:end] if value[end:].lstrip().startswith("#") else value
    return _REMARK.sub("", value)


def _filled_in(value: str, environment: Mapping[str, str], where: str, key: str) -> str:
    def replacement(match: re.Match[str]) -> str:
        name = match.group(1)
        if name not in environment:
            raise InvalidInput(
                f"{where}: {key} uses $${name}$$, but the environment has no {name}",
                hint=f"set {name} or write the value itself",
                reason="InvalidConfiguration",
            )
        return environment[name]

    return _VARIABLE.sub(replacement, value)
