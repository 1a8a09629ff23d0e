"""What a logger's files hold and how they are called, as the original has it. Pure.

A file of one copy is an object of JSON, one of several a list; CSV has a line each. Source: specification 6.8.
"""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import re
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

import orjson

from flambeau.gateway.document import FileFormat
from flambeau.gateway.events import Event

_SAFE_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_CSV_COLUMNS = {
    **{"url": "", "bytes": "Bytes", "contentType": "ContentType", "reqType": "ReqType", "id": "Id", "sourceUri": ""},
    **{"inferenceService": "InferenceService", "namespace": "Namespace", "component": "Component", "endpoint": "Endpoint"},
    **{"metadata": "", "annotations": "", "certName": "CertName", "tlsSkipVerify": ""},
}
"""Column by the record's field of the same text; empty where a column has a form of its own."""


def key_of(prefix: str, event: Event, extension: str) -> str:
    """Return where a file goes whose last copy is ``event``.

    Args:
        prefix: of the bucket, without slashes around it.
        event: an id of a client's that can't be a file's name stands there as its digest.
        extension: of the file, without its dot.
    """
    logger, store = event.logger, event.logger.store
    assert store is not None
    path = [step for step in store.path.split("/") if step not in ("", ".", "..")]
    name = event.id if _SAFE_ID.fullmatch(event.id) else hashlib.sha256(event.id.encode()).hexdigest()
    steps = (prefix, logger.namespace, logger.service, logger.component, *path, f"{name}-{event.kind}.{extension}")
    return "/".join(step for step in steps if step)


def content_of(events: Sequence[Event], format: FileFormat) -> bytes:
    """Return a file's content."""
    if format is FileFormat.CSV:
        return _csv(events)
    records = [_record(event) for event in events]
    return orjson.dumps(records[0] if len(records) == 1 else records)


def records_of(events: Sequence[Event]) -> bytes:
    """Return copies as a marshaller gets them: a list, whatever their number."""
    return orjson.dumps([_record(event) for event in events])


def _record(event: Event) -> dict[str, Any]:
    """Return a copy by the original's names of fields, which are those of a type in Go."""
    logger = event.logger
    return {
        "Url": _url(logger.url),
        "Bytes": base64.b64encode(event.body).decode(),
        "ContentType": event.content_type,
        "ReqType": event.type,
        "Id": event.id,
        "SourceUri": _url(event.source),
        "InferenceService": logger.service,
        "Namespace": logger.namespace,
        "Component": logger.component,
        "Endpoint": "",
        "Metadata": event.metadata,
        "Annotations": dict(logger.annotations),
        "CertName": "",
        "TlsSkipVerify": False,
    }


def _url(text: str) -> dict[str, str]:
    parts = urlsplit(text)
    return {"Scheme": parts.scheme, "Host": parts.netloc, "Path": parts.path}


def _csv(events: Sequence[Event]) -> bytes:
    text = io.StringIO()
    writer = csv.DictWriter(text, tuple(_CSV_COLUMNS), lineterminator="\n")
    writer.writeheader()
    for event in events:
        record = _record(event)
        row = {column: record[field] for column, field in _CSV_COLUMNS.items() if field}
        maps = {name.lower(): orjson.dumps(record[name]).decode() for name in ("Metadata", "Annotations")}
        writer.writerow({**row, **maps, "url": event.logger.url, "sourceUri": event.source, "tlsSkipVerify": "false"})
    return text.getvalue().encode()
