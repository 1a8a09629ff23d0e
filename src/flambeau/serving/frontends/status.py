"""The one table from our errors to HTTP: status, TorchServe's exception name, and the body in each protocol's shape. Pure."""

from __future__ import annotations

import json
import math
from http import HTTPStatus

import orjson

from flambeau.foundation.errors import (
    Conflict,
    Denied,
    FlambeauError,
    InvalidInput,
    NotAllowed,
    NotFound,
    NotReady,
    Overloaded,
    TimedOut,
    TooLarge,
    Unavailable,
    WorkerLost,
)
from flambeau.serving.model import Protocol

RETRY_AFTER_SECONDS_DEFAULT = 1
"""Sent with a 503 that doesn't know better."""

_STATUS: tuple[tuple[type[FlambeauError], HTTPStatus, str], ...] = (
    (TooLarge, HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "RequestEntityTooLargeException"),
    (NotAllowed, HTTPStatus.METHOD_NOT_ALLOWED, "MethodNotAllowedException"),
    (InvalidInput, HTTPStatus.BAD_REQUEST, "BadRequestException"),
    (NotFound, HTTPStatus.NOT_FOUND, "ResourceNotFoundException"),
    (Denied, HTTPStatus.FORBIDDEN, "InvalidKeyException"),
    (Conflict, HTTPStatus.CONFLICT, "ConflictStatusException"),
    (NotReady, HTTPStatus.SERVICE_UNAVAILABLE, "ServiceUnavailableException"),
    (Overloaded, HTTPStatus.SERVICE_UNAVAILABLE, "ServiceUnavailableException"),
    (Unavailable, HTTPStatus.SERVICE_UNAVAILABLE, "ServiceUnavailableException"),
    (TimedOut, HTTPStatus.GATEWAY_TIMEOUT, "RequestTimeoutException"),
    (WorkerLost, HTTPStatus.INTERNAL_SERVER_ERROR, "InternalServerException"),
)
"""The first row whose class matches counts; anything else is 500 InternalServerException."""

_BY_REASON: dict[str, tuple[HTTPStatus, str]] = {
    "ModelNotFound": (HTTPStatus.NOT_FOUND, "ModelNotFoundException"),
    "ModelVersionNotFound": (HTTPStatus.NOT_FOUND, "ModelVersionNotFoundException"),
    "WorkflowNotFound": (HTTPStatus.NOT_FOUND, "WorkflowNotFoundException"),
    "WorkflowFailed": (HTTPStatus.INTERNAL_SERVER_ERROR, "WorkflowException"),
    "InvalidWorkflow": (HTTPStatus.BAD_REQUEST, "InvalidWorkflowException"),
    "InvalidDAG": (HTTPStatus.BAD_REQUEST, "InvalidDAGException"),
    "InvalidModel": (HTTPStatus.BAD_REQUEST, "InvalidModelException"),
    "InvalidModelVersion": (HTTPStatus.FORBIDDEN, "InvalidModelVersionException"),
    "InvalidKey": (HTTPStatus.BAD_REQUEST, "InvalidKeyException"),  # not 401: clients of TorchServe look for this
    "DownloadFailed": (HTTPStatus.BAD_REQUEST, "DownloadArchiveException"),
    "FileExists": (HTTPStatus.INTERNAL_SERVER_ERROR, "InternalServerException"),
    "OutOfMemory": (HTTPStatus.INSUFFICIENT_STORAGE, "InternalServerException"),
}
"""What TorchServe tells apart where our classes do not."""

_GRPC = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    409: "ABORTED",
    413: "RESOURCE_EXHAUSTED",
    416: "OUT_OF_RANGE",
    429: "RESOURCE_EXHAUSTED",
    499: "CANCELLED",
    501: "UNIMPLEMENTED",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}
"""HTTP status -> gRPC status code, as TorchServe maps them; the classes of the others are in ``grpc_code_of``."""

JSON = (b"content-type", b"application/json")


def status_of(error: FlambeauError) -> tuple[int, str]:
    """Return the HTTP status and TorchServe's exception name of an error."""
    for kind, status, name in _STATUS:
        if isinstance(error, kind):
            told, told_name = _BY_REASON.get(error.reason, (status, name))
            return int(told), told_name
    return int(HTTPStatus.INTERNAL_SERVER_ERROR), "InternalServerException"


def grpc_code_of(status: int) -> str:
    """Return the name of the gRPC status code that an HTTP status means."""
    return _GRPC.get(status) or {4: "FAILED_PRECONDITION", 5: "INTERNAL"}.get(status // 100, "UNKNOWN")


def error_answer(error: FlambeauError, protocol: Protocol) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
    """Return status, headers and body of an error."""
    status, name = status_of(error)
    headers = [JSON]
    if isinstance(error, Overloaded):
        headers.append((b"retry-after", b"%d" % max(1, math.ceil(error.retry_after_seconds))))
    elif status == HTTPStatus.SERVICE_UNAVAILABLE:
        headers.append((b"retry-after", b"%d" % RETRY_AFTER_SECONDS_DEFAULT))
    return status, headers, error_body(protocol, status, name, str(error))


def error_body(protocol: Protocol, status: int, name: str, message: str) -> bytes:
    """Return an error as TorchServe writes it on its routes, OpenAI on its own, and KServe on V1 and V2."""
    if protocol is Protocol.OPENAI:
        return orjson.dumps({"error": {"message": message, "type": name, "param": None, "code": str(status)}})
    if protocol is Protocol.TORCHSERVE:
        return pretty({"code": status, "type": name, "message": message})
    return orjson.dumps({"error": message})


def pretty(value: object) -> bytes:
    """Return JSON as TorchServe's own pages have it: two spaces, and a newline at the end."""
    return json.dumps(value, indent=2, ensure_ascii=False).encode() + b"\n"
