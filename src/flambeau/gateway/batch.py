"""Several requests become one, and its answer becomes theirs: V1's instances and V2's inputs. Pure.

Only requests that agree in everything but their rows are put together: path, host, credentials, other fields, names, types and shapes of
inputs. What can't be read as such a request is sent as it is.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

RANK_MAX = 64
"""Dimensions of a tensor. A product of the thousands that a body has room for would take seconds."""
_CREDENTIALS = (b"authorization", b"cookie", b"x-api-key")


@dataclass(frozen=True, slots=True)
class Part:
    """One request that can be put together with others."""

    likeness: bytes
    """Parts with the same one may be put together."""
    rows: int
    content: dict[str, Any]


def part_of(path: bytes, headers: Sequence[tuple[bytes, bytes]], body: bytes) -> Part | None:
    """Return a request as a part; None if it has to go alone.

    Args:
        path: asked for.
        headers: of the request.
        body: whole.
    """
    try:
        content = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    if not isinstance(content, dict):
        return None
    who = [(name.lower().decode("latin-1"), value.decode("latin-1")) for name, value in headers if name.lower() in _CREDENTIALS]
    if path.endswith(b":predict"):
        found = _v1(content)
    elif path.endswith(b"/infer"):
        found = _v2(content)
    else:
        return None
    if found is None:
        return None
    rows, shape = found
    likeness = _written([path.decode("latin-1"), sorted(who), shape], option=orjson.OPT_SORT_KEYS)
    return None if likeness is None else Part(likeness, rows, content)


def _written(content: Any, option: int = 0) -> bytes | None:
    """Return JSON; None where it is nested deeper than can be written: four times as deep can be read."""
    try:
        return orjson.dumps(content, option=option)
    except orjson.JSONEncodeError:
        return None


def merged(parts: Sequence[Part]) -> bytes | None:
    """Return the body of one request for all parts, which are alike; None where one of them is nested too deep to be written again."""
    if len(parts) == 1:
        return _written(parts[0].content)
    first = parts[0].content
    if "instances" in first:
        return _written({**first, "instances": [row for part in parts for row in part.content["instances"]]})
    rows = sum(part.rows for part in parts)
    inputs = [
        {
            **each,
            "shape": [rows, *each["shape"][1:]],
            "data": [value for part in parts for value in part.content["inputs"][index]["data"]],
        }
        for index, each in enumerate(first["inputs"])
    ]
    return _written({**{name: value for name, value in first.items() if name != "id"}, "inputs": inputs})


def split(body: bytes, parts: Sequence[Part], batch_id: str) -> list[bytes] | None:
    """Return each part's share of an answer, or None if it can't be shared out.

    Args:
        body: of the answer to ``merged(parts)``, whose status is 200.
        parts: in the same order.
        batch_id: told to V1's clients, as the original does.
    """
    try:
        content = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    if not isinstance(content, dict):
        return None
    rows = sum(part.rows for part in parts)
    if "instances" in parts[0].content:
        predictions = content.get("predictions")
        if not isinstance(predictions, list) or len(predictions) != rows:
            return None
        return _all_written(
            {**content, "message": "", "batchId": batch_id, "predictions": predictions[begin:end]} for begin, end in _ranges(parts)
        )
    outputs = content.get("outputs")
    if not isinstance(outputs, list) or not all(_is_shared(output, rows) for output in outputs):
        return None
    shares = []
    for part, (begin, end) in zip(parts, _ranges(parts), strict=True):
        own = {**content, "outputs": [_slice(output, begin, end, rows) for output in outputs]}
        if "id" in part.content:
            own["id"] = part.content["id"]
        shares.append(own)
    return _all_written(shares)


def _all_written(contents: Iterable[Any]) -> list[bytes] | None:
    written = []
    for content in contents:
        body = _written(content)
        if body is None:
            return None
        written.append(body)
    return written


def _v1(content: dict[str, Any]) -> tuple[int, Any] | None:
    instances = content.get("instances")
    if not isinstance(instances, list) or not instances:
        return None
    return len(instances), {name: value for name, value in content.items() if name != "instances"}


def _v2(content: dict[str, Any]) -> tuple[int, Any] | None:
    """Return the rows and what has to be alike; each input has the rows as its first dimension, and its data as JSON."""
    inputs = content.get("inputs")
    if not isinstance(inputs, list) or not inputs:
        return None
    shapes, rows = [], set()
    for each in inputs:
        if not isinstance(each, dict) or not isinstance(each.get("data"), list) or not each["data"]:
            return None
        shape = each.get("shape")
        if not isinstance(shape, list) or not 0 < len(shape) <= RANK_MAX or any(type(size) is not int or size <= 0 for size in shape):
            return None
        is_nested = isinstance(each["data"][0], list)
        if len(each["data"]) != (shape[0] if is_nested else math.prod(shape)):
            return None
        rows.add(shape[0])
        shapes.append([{name: value for name, value in each.items() if name not in ("data", "shape")}, shape[1:], is_nested])
    if len(rows) != 1:
        return None
    return rows.pop(), [{name: value for name, value in content.items() if name not in ("inputs", "id")}, shapes]


def _ranges(parts: Sequence[Part]) -> list[tuple[int, int]]:
    ranges, begin = [], 0
    for part in parts:
        ranges.append((begin, begin + part.rows))
        begin += part.rows
    return ranges


def _is_shared(output: Any, rows: int) -> bool:
    """Tell whether an output has a row for each row of the inputs."""
    if not isinstance(output, dict) or not isinstance(output.get("data"), list):
        return False
    shape = output.get("shape")
    if not isinstance(shape, list) or not 0 < len(shape) <= RANK_MAX or any(type(size) is not int for size in shape) or shape[0] != rows:
        return False
    return len(output["data"]) in (rows, math.prod(shape))


def _slice(output: dict[str, Any], begin: int, end: int, rows: int) -> dict[str, Any]:
    per_row = len(output["data"]) // rows
    return {**output, "shape": [end - begin, *output["shape"][1:]], "data": output["data"][begin * per_row : end * per_row]}
