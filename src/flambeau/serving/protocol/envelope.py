"""TorchServe's service envelopes: another reading of what came over its own routes.

``body`` and ``json`` are here; ``kserve`` and ``kservev2`` are the wire forms ``v1`` and ``v2``. One request's error never touches its
neighbours, which is why this is a codec and not a wrapper around the handler.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Sequence
from dataclasses import replace

from flambeau.foundation.errors import FlambeauError, Internal, InvalidInput
from flambeau.serving.model import Job
from flambeau.serving.protocol import torchserve
from flambeau.serving.protocol.form import Encoded, Rows
from flambeau.serving.protocol.json_text import plain, read_json

BODY = "body"
"""The row is the value itself, not a dict of names."""
JSON = "json"
"""``{"instances": [...]}``: one row an instance; ``{"b64": "..."}`` is bytes."""


def unwrapped(job: Job) -> Job:
    """Return a job whose body is the JSON object that came as a form's field ``data`` or ``body``; other jobs as they are."""
    if torchserve.media_type_of(job.content_type) not in (torchserve.MULTIPART, torchserve.FORM):
        return job
    try:
        (row,) = torchserve.decode(job, parsed=False).rows
    except FlambeauError:
        return job  # whoever decodes it tells what is wrong
    value = (row.get("data") or row.get("body")) if isinstance(row, dict) else None
    if not isinstance(value, bytes | bytearray) or value.lstrip()[:1] != b"{":
        return job
    return replace(job, body=bytes(value), content_type="application/json")


def opened(rows: Rows, name: str) -> Rows:
    """Return the rows that a handler behind an envelope gets.

    Args:
        rows: TorchServe's one row.
        name: ``body`` or ``json``.

    Raises:
        InvalidInput: what came is not of the envelope's form.
    """
    (row,) = rows.rows
    assert isinstance(row, dict), "TorchServe's codec gives dicts"
    value = row.get("data") or row.get("body")
    if name == BODY:
        return Rows([value], parts=rows.parts)
    document = read_json(bytes(value)) if isinstance(value, bytes | bytearray) else value
    if not isinstance(document, dict) or not isinstance(document.get("instances"), list) or not document["instances"]:
        raise InvalidInput('the body must be a JSON object with a list of "instances"', hint='send {"instances": [...]}')
    return Rows([_without_base64(instance) for instance in document["instances"]], noun="instance", parts=rows.parts)


def sealed(values: Sequence[object]) -> Encoded:
    """Turn the results of one request's instances into its answer: JSON on one line, as the ``json`` envelope writes it.

    Raises:
        Internal: a result is of a type that JSON has no word for.
    """
    try:
        return Encoded(json.dumps({"predictions": list(values)}, default=plain).encode(), "application/json")
    except (TypeError, ValueError, RecursionError) as error:
        raise Internal(
            f"Unsupported model output data type. The handler's result cannot be written as JSON: {error}",
            hint="return numbers, strings, lists, dicts, arrays or tensors",
        ) from error


def _without_base64(instance: object) -> object:
    """Return an instance, or its columns, as bytes where they are base64."""
    if not isinstance(instance, dict):
        return instance
    if set(instance) == {"b64"}:
        return _bytes_of(instance["b64"])
    return {
        name: _bytes_of(value["b64"]) if isinstance(value, dict) and set(value) == {"b64"} else value for name, value in instance.items()
    }


def _bytes_of(text: object) -> bytes:
    try:
        return base64.b64decode(str(text), validate=True)
    except (binascii.Error, ValueError) as error:
        raise InvalidInput(f'an instance\'s "b64" is not base64: {error}') from error
