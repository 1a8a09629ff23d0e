"""YAML as kubectl reads it, which is neither YAML 1.1 nor 1.2: no dates, no base 60, ``yes`` and ``n`` are booleans.

Builds values from PyYAML's nodes itself, so that nothing but plain data can come out and duplicate keys are seen with their lines. Read by
the command line (files) and by the API server (bodies). Pure. Source: dependencies.md, "YAML: match kubectl".
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import yaml

from flambeau.foundation.errors import InvalidInput, TooLarge

NODES_MAX = 200_000
"""Values of one document, aliases counted each time they are used (so that none grows a body without end)."""
DEPTH_MAX = 100
"""Levels of nesting."""
_DIGITS_MAX = 400
"""Digits of a number; none that JSON can say has more."""
_EXACT_FLOATS_MAX = 2**53

_MERGE = "tag:yaml.org,2002:merge"
_PLAIN_TAGS = ("map", "seq", "str", "int", "float", "bool", "null", "timestamp", "value", "merge")
_TAGS = frozenset(f"tag:yaml.org,2002:{name}" for name in _PLAIN_TAGS)
# What PyYAML takes a plain text for doesn't matter: ``_scalar`` decides by the text.
_TRUE = frozenset(["true", "True", "TRUE", "yes", "Yes", "YES", "on", "On", "ON", "y", "Y"])
_FALSE = frozenset(["false", "False", "FALSE", "no", "No", "NO", "off", "Off", "OFF", "n", "N"])
_NULL = frozenset(("", "~", "null", "Null", "NULL"))
_DECIMAL = re.compile(r"^[-+]?(0|[1-9][0-9_]*)$")
_OCTAL = re.compile(r"^([-+]?)0o?([0-7]+)$")
_HEXADECIMAL = re.compile(r"^([-+]?)0x([0-9a-fA-F]+)$")
_FLOAT = re.compile(r"^[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?$")


@dataclass(frozen=True, slots=True)
class Duplicate:
    """A key that stands in one mapping more than once."""

    path: str
    """``spec.list[0].a``."""
    line: int
    first_line: int


@dataclass(frozen=True, slots=True)
class Document:
    """One document of a text."""

    value: Any
    line: int
    """Where it begins, counted from 1."""
    duplicates: tuple[Duplicate, ...]
    """Of each, the last value counts."""


def read_documents(text: str, *, source: str) -> list[Document]:
    """Return the documents of a text; empty ones don't count.

    Args:
        text: YAML, or JSON, which is YAML.
        source: the file's name, or what else the text is, for messages.

    Raises:
        InvalidInput: it isn't YAML, or more than plain data; the text names source and line.
        TooLarge: aliases blow it up.
    """
    try:
        nodes = list(yaml.compose_all(text, Loader=yaml.CSafeLoader))
    except yaml.MarkedYAMLError as error:
        raise _not_yaml(error, text, source) from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise InvalidInput(f"{source}: not YAML: {' '.join(str(error).split())}") from error
    documents = []
    for node in nodes:
        builder = _Builder(source)
        value = builder.build(node, "", 0)
        if value is not None:
            documents.append(Document(value, node.start_mark.line + 1, tuple(builder.duplicates)))
    return documents


def _not_yaml(error: yaml.MarkedYAMLError, text: str, source: str) -> InvalidInput:
    mark = error.problem_mark or error.context_mark
    if mark is None:
        return InvalidInput(f"{source}: not YAML: {error.problem}")
    lines: Sequence[str] = text.splitlines()
    line = lines[mark.line].strip() if mark.line < len(lines) else ""
    return InvalidInput(
        f"{source}:{mark.line + 1}:{mark.column + 1}: not YAML: {error.problem}", hint=f"the line reads: {line}" if line else None
    )


@dataclass(slots=True)
class _Builder:
    source: str
    duplicates: list[Duplicate] = field(default_factory=list)
    nodes: int = 0

    def build(self, node: yaml.Node, path: str, depth: int) -> Any:
        self.nodes += 1
        if self.nodes > NODES_MAX:
            raise TooLarge(f"{self.source} holds more than {NODES_MAX} values")
        if depth > DEPTH_MAX:
            raise self._refused(node, f"nested more than {DEPTH_MAX} deep")
        if node.tag not in _TAGS:
            raise self._refused(node, f"the tag {node.tag} is not read")
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path, depth)
        if isinstance(node, yaml.SequenceNode):
            return [self.build(item, f"{path}[{index}]", depth + 1) for index, item in enumerate(node.value)]
        try:
            return _scalar(node)
        except ValueError as error:
            raise self._refused(node, str(error)) from None

    def _mapping(self, node: yaml.MappingNode, path: str, depth: int) -> dict[str, Any]:
        result: dict[str, Any] = {}
        merged: dict[str, Any] = {}
        lines: dict[str, int] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                raise self._refused(key_node, "a key must be plain text")
            key, line = str(key_node.value), key_node.start_mark.line + 1
            place = f"{path}.{key}" if path else key
            if key_node.tag == _MERGE and not key_node.style:
                merged |= self._merged(key_node, value_node, path, depth)
                continue
            if key in result:
                self.duplicates.append(Duplicate(place, line, lines[key]))
            lines.setdefault(key, line)
            result[key] = self.build(value_node, place, depth + 1)
        return merged | result

    def _merged(self, key: yaml.Node, node: yaml.Node, path: str, depth: int) -> dict[str, Any]:
        """Return what ``<<: *alias`` brings in; of several, the earlier wins."""
        nodes = node.value if isinstance(node, yaml.SequenceNode) else [node]
        found: dict[str, Any] = {}
        for each in nodes:
            if not isinstance(each, yaml.MappingNode):
                raise self._refused(key, "<< merges what is no mapping")
            found = self.build(each, path, depth + 1) | found
        return found

    def _refused(self, node: yaml.Node, why: str) -> InvalidInput:
        return InvalidInput(f"{self.source}:{node.start_mark.line + 1}: {why}")


def _scalar(node: yaml.Node) -> Any:
    text = str(node.value)
    if getattr(node, "style", None):  # quoted or block: text, whatever it looks like
        return text
    if text in _NULL:
        return None
    if text in _TRUE or text in _FALSE:
        return text in _TRUE
    for pattern, convert in _NUMBERS:
        if found := pattern.match(text):
            return convert(found)
    return text


def _based(base: int) -> Callable[[re.Match[str]], int]:
    return lambda found: int(found[1] + found[2], base)


def _decimal(found: re.Match[str]) -> int:
    if len(found[0]) > _DIGITS_MAX:
        raise ValueError(f"a number has more than {_DIGITS_MAX} digits")
    return int(found[0].replace("_", ""))


def _float(found: re.Match[str]) -> int | float:
    """Whole numbers are integers, however they are written: ``1e3`` is 1000."""
    value = float(found[0])
    if math.isinf(value):
        raise ValueError(f"the number {found[0]} is too large")
    return int(value) if value.is_integer() and abs(value) < _EXACT_FLOATS_MAX else value


_NUMBERS: tuple[tuple[re.Pattern[str], Callable[[re.Match[str]], int | float]], ...] = (
    (_DECIMAL, _decimal),
    (_OCTAL, _based(8)),
    (_HEXADECIMAL, _based(16)),
    (_FLOAT, _float),
)
