"""JSON in and out: orjson for speed, the standard library for what orjson refuses.

TorchServe's clients may send ``NaN`` and ``Infinity``, which orjson does not read; handlers return arrays and tensors.
"""

from __future__ import annotations

import json
from typing import Any

import orjson

from flambeau.foundation.errors import InvalidInput, TooLarge

JSON_DEPTH_MAX = 1024
"""Levels of nesting; orjson's own bound, checked while it reads, so that a hostile body costs no more than its bytes."""


def read_json(body: bytes) -> Any:
    """Return what a JSON text says; ``NaN`` and the infinities are numbers.

    Raises:
        InvalidInput: it is not JSON; the text says where it stops being it.
        TooLarge: it is nested deeper than JSON_DEPTH_MAX.
    """
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        if "depth" in str(error) or "recursion" in str(error).lower():
            raise TooLarge(f"the body is nested deeper than {JSON_DEPTH_MAX} levels") from error
        if b"NaN" not in body and b"Infinity" not in body:
            raise InvalidInput(f"the body is not JSON: {error}") from error
    try:
        return json.loads(body)
    except RecursionError as error:
        raise TooLarge(f"the body is nested deeper than {JSON_DEPTH_MAX} levels") from error
    except ValueError as error:  # JSONDecodeError and UnicodeDecodeError
        raise InvalidInput(f"the body is not JSON: {error}") from error


def write_compact_json(value: object) -> bytes:
    """Return compact JSON; numpy arrays and scalars and torch tensors are lists and numbers, NaN is null.

    Raises:
        TypeError: the value holds something that JSON has no word for.
    """
    return orjson.dumps(value, default=plain, option=orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_NON_STR_KEYS)


def plain(value: Any) -> Any:
    """Return a number, string or nested list for what array libraries give.

    Raises:
        TypeError: it is nothing of the kind.
    """
    if isinstance(value, bytes | bytearray):
        return value.decode("utf-8", errors="replace")
    if isinstance(value, set | frozenset | tuple):
        return list(value)
    # numpy arrays and scalars, torch tensors: all have it, and naming their types here would import their libraries.
    tolist = getattr(value, "tolist", None)
    if tolist is None:
        raise TypeError(f"{type(value).__name__} cannot be written as JSON")
    return tolist()
