"""The error tree as Kubernetes Status objects: one table.

Every answer that isn't 2xx is made here. Called by ``server`` and the watch; pure.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from flambeau.control.apiserver.apply import ApplyConflict
from flambeau.control.resources.kind import Finding, Kind, Object
from flambeau.foundation.errors import (
    Conflict,
    Denied,
    FlambeauError,
    Internal,
    InvalidInput,
    NotAllowed,
    NotFound,
    NotReady,
    Overloaded,
    TimedOut,
    TooLarge,
    Unavailable,
)


class Unauthorized(Denied):
    """No token, or not ours."""

    default_reason = "Unauthorized"


class UnsupportedMediaType(InvalidInput):
    """The body's content type isn't one that this path reads."""

    default_reason = "UnsupportedMediaType"


class NotAcceptable(InvalidInput):
    """The client takes none of the forms that we write."""

    default_reason = "NotAcceptable"


class NotBuilt(InvalidInput):
    """Kubernetes has it; this API server doesn't."""

    default_reason = "NotImplemented"


class InvalidObject(InvalidInput):
    """An object that is understood but refused; each finding names a field.

    Args:
        kind: the object's kind.
        name: its name, as far as it is known.
        findings: at least one.
    """

    def __init__(self, kind: Kind, name: str, findings: tuple[Finding, ...]) -> None:
        causes = [f"{finding.path}: {finding.message}" for finding in findings]
        listed = causes[0] if len(causes) == 1 else f"[{', '.join(causes)}]"
        full_kind = f"{kind.kind}.{kind.group}" if kind.group else kind.kind
        super().__init__(f'{full_kind} "{name}" is invalid: {listed}')
        self.name = name
        self.findings = findings


@dataclass(frozen=True, slots=True)
class Subject:
    """What a request was about; goes into a Status's details."""

    kind: Kind
    name: str = ""

    def details(self) -> dict[str, Any]:
        """Return the Status's ``details``."""
        named = {"name": self.name} if self.name else {}
        return {**named, "group": self.kind.group, "kind": self.kind.plural} if self.kind.group else {**named, "kind": self.kind.plural}


# The first row whose class fits decides; subclasses stand above their base.
_TABLE: tuple[tuple[type[FlambeauError], int, str], ...] = (
    (Unauthorized, 401, "Unauthorized"),
    (Denied, 403, "Forbidden"),
    (InvalidObject, 422, "Invalid"),
    (TooLarge, 413, "RequestEntityTooLarge"),
    (NotAllowed, 405, "MethodNotAllowed"),
    (UnsupportedMediaType, 415, "UnsupportedMediaType"),
    (NotAcceptable, 406, "NotAcceptable"),
    (NotBuilt, 501, "NotImplemented"),
    (InvalidInput, 400, "BadRequest"),
    (NotFound, 404, "NotFound"),
    (Conflict, 409, "Conflict"),
    (NotReady, 503, "ServiceUnavailable"),
    (Overloaded, 429, "TooManyRequests"),
    (TimedOut, 504, "Timeout"),
    (Unavailable, 503, "ServiceUnavailable"),
    (Internal, 500, "InternalError"),
)
_CONFLICTS = {"AlreadyExists": (409, "AlreadyExists"), "Expired": (410, "Expired")}


def of_error(error: FlambeauError, subject: Subject | None = None) -> Object:
    """Return the Status of an error; ``code`` in it is the HTTP status.

    Args:
        error: what was raised. Its text is shown to the client: rooms keep secrets and internal names out of it.
        subject: what the request was about.
    """
    code, reason = next(((code, reason) for kind, code, reason in _TABLE if isinstance(error, kind)), (500, "InternalError"))
    if isinstance(error, Conflict):
        code, reason = _CONFLICTS.get(error.reason, (code, reason))
    details: dict[str, Any] = subject.details() if subject else {}
    if isinstance(error, InvalidObject):
        if subject:  # kubectl builds its sentence from these: The InferenceService "x" is invalid
            details |= {"name": error.name, "kind": subject.kind.kind}
        details["causes"] = [{"reason": item.reason, "message": item.message, "field": item.path} for item in error.findings]
    if isinstance(error, ApplyConflict):
        details["causes"] = [
            {"reason": "FieldManagerConflict", "message": f'conflict with "{manager}"', "field": field} for manager, field in error.owned
        ]
    if isinstance(error, Overloaded):
        details["retryAfterSeconds"] = max(1, round(error.retry_after_seconds))
    return failure(code, reason, str(error), details)


def failure(code: int, reason: str, message: str, details: dict[str, Any] | None = None) -> Object:
    """Return a Status of a failure."""
    status: Object = {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": message,
        "reason": reason,
        "code": code,
    }
    if details:
        status["details"] = details
    return status


def success(subject: Subject, uid: str = "") -> Object:
    """Return the Status that answers a deletion."""
    details = subject.details()
    if uid:
        details["uid"] = uid
    return {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details}


def not_found(kind: Kind, name: str) -> NotFound:
    """Return Kubernetes' own sentence: ``inferenceservices.serving.kserve.io "x" not found``."""
    return NotFound(f'{kind.id} "{name}" not found')
