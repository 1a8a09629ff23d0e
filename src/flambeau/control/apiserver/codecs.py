"""Bodies in: JSON, YAML and Kubernetes protobuf become plain values. Bodies out are JSON.

The one place where bytes from the network are parsed. Everything that comes out of ``decode`` can be written as JSON again. Pure.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import orjson

from flambeau.control.apiserver import protobuf
from flambeau.control.apiserver.status import UnsupportedMediaType
from flambeau.foundation.errors import InvalidInput
from flambeau.foundation.yaml_text import DEPTH_MAX, read_documents

JSON = "application/json"
YAML = "application/yaml"
PROTOBUF = "application/vnd.kubernetes.protobuf"
JSON_PATCH = "application/json-patch+json"
MERGE_PATCH = "application/merge-patch+json"
STRATEGIC_PATCH = "application/strategic-merge-patch+json"
APPLY_PATCH = "application/apply-patch+yaml"

OBJECT_TYPES = (JSON, YAML, PROTOBUF)
PATCH_TYPES = (JSON_PATCH, MERGE_PATCH, STRATEGIC_PATCH, APPLY_PATCH)
_YAML_TYPES = (YAML, APPLY_PATCH)


@dataclass(frozen=True, slots=True)
class Decoded:
    """A body's value."""

    value: Any
    duplicates: tuple[str, ...] = ()
    """Paths of keys that stand twice in one mapping; the last one counts."""


def media_type(header: str, allowed: tuple[str, ...]) -> str:
    """Return the content type without parameters; where it is missing, YAML if that is read here (JSON is YAML), else JSON.

    Raises:
        UnsupportedMediaType: it isn't one of those allowed.
    """
    found = header.partition(";")[0].strip().lower() or (YAML if YAML in allowed else JSON)
    if found not in allowed:
        raise UnsupportedMediaType(f"the body of type {found!r} is not read here", hint=f"send one of {', '.join(allowed)}")
    return found


def decode(body: bytes, content_type: str) -> Decoded:
    """Return what a body says.

    Args:
        body: the whole of it, its size checked already.
        content_type: one that ``media_type`` returned.

    Raises:
        InvalidInput: it can't be read.
    """
    if content_type == PROTOBUF:
        return Decoded(protobuf.decode(body))
    if content_type in _YAML_TYPES and not body.lstrip().startswith((b"{", b"[")):
        return _decode_yaml(body)
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise InvalidInput(f"the body is not JSON: {error}") from error
    _check_depth(value)
    return Decoded(value, _duplicates(body))


def _decode_yaml(body: bytes) -> Decoded:
    try:
        documents = read_documents(body.decode(), source="YAML body")
        if len(documents) > 1:
            raise InvalidInput(f"YAML body:{documents[1].line}: one object is taken here, and a second document begins")
        value = documents[0].value if documents else None
        value = orjson.loads(orjson.dumps(value))  # refuses what JSON can't say: lone surrogates, numbers over 64 bits
    except (UnicodeDecodeError, TypeError) as error:
        raise InvalidInput(f"the YAML body can't be written as JSON: {error}") from error
    return Decoded(value, tuple(duplicate.path for document in documents for duplicate in document.duplicates))


def _check_depth(value: Any) -> None:
    level, depth = [value], 0
    while level:
        if depth > DEPTH_MAX:
            raise InvalidInput(f"the body is nested deeper than {DEPTH_MAX} levels")
        level = [item for node in level if isinstance(node, dict | list) for item in (node.values() if isinstance(node, dict) else node)]
        depth += 1


class _Mapping(dict[str, Any]):
    """A JSON object that remembers which of its keys were given twice."""

    twice: tuple[str, ...] = ()


def _mapping(pairs: list[tuple[str, Any]]) -> _Mapping:
    result = _Mapping(pairs)
    if len(result) < len(pairs):
        names = [name for name, _ in pairs]
        result.twice = tuple(name for name in result if names.count(name) > 1)
    return result


def _duplicates(body: bytes) -> tuple[str, ...]:
    """Return the paths of duplicate keys; orjson, which is stricter about everything else, keeps silent about them."""
    found: list[str] = []
    parsed = json.loads(body, object_pairs_hook=_mapping, parse_int=str, parse_float=str)  # what numbers there are doesn't matter here
    pending: list[tuple[str, Any]] = [("", parsed)]
    while pending:
        path, node = pending.pop()
        if isinstance(node, _Mapping):
            prefix = f"{path}." if path else ""
            found += [f"{prefix}{name}" for name in node.twice]
            pending += [(f"{prefix}{name}", item) for name, item in node.items()]
        elif isinstance(node, list):
            pending += [(f"{path}[{index}]", item) for index, item in enumerate(node)]
    return tuple(sorted(found))


def encode(value: Any) -> bytes:
    """Return a value as JSON, with the line end that people at a terminal expect."""
    return orjson.dumps(value, option=orjson.OPT_APPEND_NEWLINE)
