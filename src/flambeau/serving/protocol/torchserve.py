"""TorchServe's own form: any body is one row, any result is one body.

Row: a form's or query's names, else the key ``body``. JSON arrives parsed, ``text/*`` as str, all else as bytearray. One leniency:
a body that nobody typed (no content type, or the form type that ``curl -d`` sends) and that is a JSON object or list is taken as JSON.
"""

from __future__ import annotations

import functools
import json
import sys
from io import BytesIO
from typing import Any
from urllib.parse import parse_qsl

from flambeau.foundation.errors import Internal, InvalidInput
from flambeau.serving.model import Job
from flambeau.serving.protocol.form import Encoded, Rows
from flambeau.serving.protocol.json_text import plain, read_json
from flambeau.serving.protocol.multipart import split_parts

JSON = "application/json"
FORM = "application/x-www-form-urlencoded"
MULTIPART = "multipart/form-data"
OCTETS = "application/octet-stream"
_OCTETS_ALONE = (("body", OCTETS),)
FORM_FIELDS_MAX = 1000
"""Fields of one urlencoded form."""
_INDENTED = json.JSONEncoder(indent=2, default=plain)


def decode(job: Job, *, parsed: bool = True) -> Rows:
    """Turn a request into the one row that a TorchServe handler expects.

    Args:
        job: the request.
        parsed: whether JSON and text are parsed (decode_input_request); else the handler gets bytes.

    Raises:
        InvalidInput: a form that cannot be read. Invalid JSON is no error: the handler gets the bytes, as it always did.
    """
    media_type = media_type_of(job.content_type)
    if media_type == OCTETS and not job.parameters:
        return Rows([{"body": bytearray(job.body)}], parts=_OCTETS_ALONE)
    row: dict[str, object] = {name: bytearray(value, "utf-8") for name, value in job.parameters}
    types = dict.fromkeys(row, "")
    if media_type == MULTIPART:
        for part in split_parts(job.body, job.content_type):
            row[part.name] = _value_of(part.content, part.content_type if parsed else "")
            types[part.name] = part.content_type
    elif parsed and media_type in ("", FORM) and (found := _json_or_none(job.body)) is not None:
        row["body"] = found
        types["body"] = media_type
    elif media_type == FORM:
        fields = _fields_of(job.body)
        row.update(fields)
        types.update(dict.fromkeys(fields, ""))
    else:
        row["body"] = _value_of(job.body, media_type if parsed else "")
        types["body"] = media_type
    return Rows([row], parts=tuple(types.items()))


def decode_fields(job: Job) -> Rows:
    """Turn the fields of a gRPC call into the row that a TorchServe handler expects: each is a bytearray."""
    row: dict[str, object] = {}
    at = 0
    for name, size in job.parameters:
        row[name] = bytearray(job.body[at : at + int(size)])
        at += int(size)
    return Rows([row], parts=tuple((name, "") for name, _ in job.parameters))


def model_named_in_form(job: Job) -> str | None:
    """Return the form field ``model_name`` of a request; None where the body is no form, or has none.

    Raises:
        InvalidInput: a form that cannot be read.
    """
    media_type = media_type_of(job.content_type)
    if media_type == MULTIPART:
        named = [part.content for part in split_parts(job.body, job.content_type) if part.name == "model_name"]
        return named[-1].decode("utf-8", "replace") if named else None
    if media_type == FORM:
        value = _fields_of(job.body).get("model_name")
        return value.decode() if isinstance(value, bytearray) else None
    return None


def encode(value: Any) -> Encoded:
    """Turn one element of the handler's result into a body.

    Raises:
        Internal: the value is of a type that has no wire form; the text names the type.
    """
    if isinstance(value, bytes | bytearray):
        return Encoded(bytes(value), None)
    if isinstance(value, str):
        return Encoded(value.encode(), None)
    if type(value) is int:  # a class's number, mostly; json's own way to it takes ten times as long
        return Encoded(b"%d" % value, JSON)
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(value, torch.Tensor):
        buffer = BytesIO()
        torch.save(value, buffer)
        return Encoded(buffer.getvalue(), None)
    try:
        # Clients compare these bytes: indent 2, ASCII only and NaN as TorchServe writes them, which orjson cannot do.
        return Encoded(_INDENTED.encode(value).encode(), JSON)
    except (TypeError, ValueError, RecursionError) as error:
        raise Internal(
            f"Unsupported model output data type. The handler returned {type(value).__name__}: {error}",
            hint="return bytes, str, a tensor, or what json.dumps accepts",
        ) from error


@functools.lru_cache(maxsize=256)
def media_type_of(content_type: str) -> str:
    """Return a content type without its parameters, in lower case."""
    return content_type.split(";", 1)[0].strip().lower()


def _value_of(content: bytes, media_type: str) -> object:
    """Return a body or part as its media type says; bytes where it doesn't hold what the type says."""
    if media_type == JSON:
        try:
            return read_json(content)
        except InvalidInput:
            return bytearray(content)
    if media_type.startswith("text"):
        try:
            return content.decode()
        except UnicodeDecodeError:
            return bytearray(content)
    return bytearray(content)


def _json_or_none(body: bytes) -> object | None:
    if body.lstrip()[:1] not in (b"{", b"["):
        return None
    try:
        found: object = read_json(body)
    except InvalidInput:
        return None
    return found


def _fields_of(body: bytes) -> dict[str, object]:
    try:
        pairs = parse_qsl(body.decode("utf-8", errors="replace"), keep_blank_values=True, max_num_fields=FORM_FIELDS_MAX)
    except ValueError as error:
        raise InvalidInput(f"the form cannot be read: {error}", hint="send the body with its own content type, with -H in curl") from error
    return {name: bytearray(value, "utf-8") for name, value in pairs}
