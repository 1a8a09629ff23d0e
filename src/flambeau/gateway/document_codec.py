"""The routes document as JSON, read strictly: a field that isn't known, misses or has another type is an error with its place.

The routing controller calls ``encode``; the gateway calls ``decode``. A document that was read is well-formed; whether it makes sense
(names that meet, patterns that compile) is the table's question.
"""

from __future__ import annotations

import dataclasses
import difflib
import enum
import functools
import types
import typing
from typing import Any

import orjson

from flambeau.foundation.errors import InvalidInput, TooLarge
from flambeau.gateway.document import Document

DOCUMENT_BYTES_MAX = 64 * 1024 * 1024
"""A larger file is refused unread: some hundred thousand routes."""


def encode(document: Document) -> bytes:
    """Return the document as JSON, indented so that people can read it."""
    return orjson.dumps(document, option=orjson.OPT_INDENT_2)


def decode(content: bytes) -> Document:
    """Return the document that a JSON text describes.

    Raises:
        TooLarge: it is over DOCUMENT_BYTES_MAX.
        InvalidInput: it isn't JSON, or not such a document; the text names the place.
    """
    if len(content) > DOCUMENT_BYTES_MAX:
        raise TooLarge(f"the routes document has {len(content)} bytes; at most {DOCUMENT_BYTES_MAX} are read")
    try:
        value = orjson.loads(content)
    except orjson.JSONDecodeError as error:
        raise InvalidInput(f"the routes document is not JSON: {error}") from error
    document: Document = _read(value, Document, "document")
    return document


def _read(value: Any, wanted: Any, place: str) -> Any:
    """Return ``value`` as the type an annotation names."""
    origin = typing.get_origin(wanted)
    if origin is types.UnionType:  # ``X | None``
        return None if value is None else _read(value, typing.get_args(wanted)[0], place)
    if origin is tuple:
        return _read_tuple(value, typing.get_args(wanted), place)
    if dataclasses.is_dataclass(wanted):
        return _read_object(value, typing.cast(type[Any], wanted), place)
    if issubclass(wanted, enum.StrEnum):
        known = [str(member) for member in wanted]
        if value not in known:
            raise InvalidInput(f"{place}: {value!r} is none of {', '.join(known)}")
        return wanted(value)
    if wanted is float and type(value) is int:
        return float(value)
    if type(value) is not wanted:
        raise InvalidInput(f"{place}: expected {wanted.__name__}, found {type(value).__name__}")
    return value


def _read_tuple(value: Any, members: tuple[Any, ...], place: str) -> tuple[Any, ...]:
    if not isinstance(value, list):
        raise InvalidInput(f"{place}: expected a list, found {type(value).__name__}")
    if members[-1] is Ellipsis:
        return tuple(_read(item, members[0], f"{place}[{index}]") for index, item in enumerate(value))
    if len(value) != len(members):
        raise InvalidInput(f"{place}: expected {len(members)} items, found {len(value)}")
    return tuple(_read(item, member, f"{place}[{index}]") for index, (item, member) in enumerate(zip(value, members, strict=True)))


def _read_object(value: Any, wanted: type[Any], place: str) -> Any:
    if not isinstance(value, dict):
        raise InvalidInput(f"{place}: expected an object, found {type(value).__name__}")
    hints, required = _fields(wanted)  # type: ignore[arg-type]  # a class is hashable; mypy loses that for type[Any]
    for name in value:
        if name not in hints:
            near = difflib.get_close_matches(name, hints, n=1)
            raise InvalidInput(f"{place}.{name}: unknown field", hint=f"did you mean {near[0]}?" if near else None)
    for name in required:
        if name not in value:
            raise InvalidInput(f"{place}.{name}: missing")
    return wanted(**{name: _read(item, hints[name], f"{place}.{name}") for name, item in value.items()})


@functools.cache
def _fields(wanted: type[Any]) -> tuple[dict[str, Any], list[str]]:
    """Return a dataclass's fields with their types, and the names of those without a default."""
    required = [
        field.name
        for field in dataclasses.fields(wanted)
        if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
    ]
    return typing.get_type_hints(wanted), required
