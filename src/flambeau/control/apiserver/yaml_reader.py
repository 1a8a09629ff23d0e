"""YAML as kubectl reads it, which is neither YAML 1.1 nor 1.2: no dates, no base 60, ``yes`` and ``n`` are booleans.

Builds values from PyYAML's nodes itself, so that nothing but plain data can come out and duplicates are seen. Pure.
Source: dependencies.md, "YAML: match kubectl".
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
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


@dataclass(slots=True)
class _Builder:
    duplicates: list[str] = field(default_factory=list)
    nodes: int = 0

    def build(self, node: yaml.Node, path: str, depth: int) -> Any:
        self.nodes += 1
        if self.nodes > NODES_MAX:
            raise TooLarge(f"the YAML document holds more than {NODES_MAX} values")
        if depth > DEPTH_MAX:
            raise InvalidInput(f"the YAML document is nested deeper than {DEPTH_MAX} levels")
        if node.tag not in _TAGS:
            raise InvalidInput(f"the tag {node.tag} at line {node.start_mark.line + 1} of the YAML document is not read")
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path, depth)
        if isinstance(node, yaml.SequenceNode):
            return [self.build(item, f"{path}[{index}]", depth + 1) for index, item in enumerate(node.value)]
        return _scalar(node)

    def _mapping(self, node: yaml.MappingNode, path: str, depth: int) -> dict[str, Any]:
        result: dict[str, Any] = {}
        merged: dict[str, Any] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                raise InvalidInput(f"a key at line {key_node.start_mark.line + 1} of the YAML document is no plain text")
            key = str(key_node.value)
            place = f"{path}.{key}" if path else key
            if key_node.tag == _MERGE and not key_node.style:
                merged |= self._merged(value_node, path, depth)
                continue
            if key in result:
                self.duplicates.append(place)
            result[key] = self.build(value_node, place, depth + 1)
        return merged | result

    def _merged(self, node: yaml.Node, path: str, depth: int) -> dict[str, Any]:
        """Return what ``<<: *alias`` brings in; of several, the earlier wins."""
        nodes = node.value if isinstance(node, yaml.SequenceNode) else [node]
        found: dict[str, Any] = {}
        for each in nodes:
            if not isinstance(each, yaml.MappingNode):
                raise InvalidInput(f"<< at line {node.start_mark.line + 1} of the YAML document merges what is no mapping")
            found = self.build(each, path, depth + 1) | found
        return found


def read(text: str) -> tuple[Any, tuple[str, ...]]:
    """Return the first document's value, and the paths of keys that stand in it twice.

    Raises:
        InvalidInput: it isn't YAML, or more than plain data; the text names the line.
        TooLarge: aliases blow it up.
    """
    try:
        node = yaml.compose(text, Loader=yaml.CSafeLoader)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise InvalidInput(f"cannot read the YAML document: {' '.join(str(error).split())}") from error
    if node is None:
        return None, ()
    builder = _Builder()
    value = builder.build(node, "", 0)
    return value, tuple(builder.duplicates)


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
        raise InvalidInput(f"a number of the YAML document has more than {_DIGITS_MAX} digits")
    return int(found[0].replace("_", ""))


def _float(found: re.Match[str]) -> int | float:
    """Whole numbers are integers, however they are written: ``1e3`` is 1000."""
    value = float(found[0])
    if math.isinf(value):
        raise InvalidInput(f"the number {found[0]} of the YAML document is too large")
    return int(value) if value.is_integer() and abs(value) < _EXACT_FLOATS_MAX else value


_NUMBERS: tuple[tuple[re.Pattern[str], Callable[[re.Match[str]], int | float]], ...] = (
    (_DECIMAL, _decimal),
    (_OCTAL, _based(8)),
    (_HEXADECIMAL, _based(16)),
    (_FLOAT, _float),
)
