"""One tree of errors by situation, not by transport.

Doors map them to a status (``serving.frontends.status``, ``control.apiserver.status``); rooms raise them. The text says what
failed, where and why ("cannot load model m: archive has no manifest"); the hint says what to do about it.
"""

from __future__ import annotations

from typing import ClassVar


class FlambeauError(Exception):
    """Say what went wrong, and what to do about it.

    Args:
        message: one sentence: what failed, where, why. No secrets.
        hint: one sentence that a person can act on, or None.
        reason: a CamelCase word for machines (a condition's or an event's reason), or None for the class's own.
    """

    default_reason: ClassVar[str] = "Internal"

    def __init__(self, message: str, *, hint: str | None = None, reason: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.reason = reason or self.default_reason

    def __str__(self) -> str:
        return f"{self.message} ({self.hint})" if self.hint else self.message


class InvalidInput(FlambeauError):
    """The request, file or object is wrong; sending it again changes nothing."""

    default_reason = "Invalid"


class TooLarge(InvalidInput):
    """A body, header, archive or tensor is over its limit; the text names the limit and its unit."""

    default_reason = "TooLarge"


class NotAllowed(InvalidInput):
    """The operation does not exist on this thing (a method on a path, a write to a read-only kind)."""

    default_reason = "MethodNotAllowed"


class NotFound(FlambeauError):
    """The named thing is not there; the text names what there is, where that is short."""

    default_reason = "NotFound"


class Denied(FlambeauError):
    """Credentials are missing, wrong or insufficient."""

    default_reason = "Forbidden"


class Conflict(FlambeauError):
    """The thing changed meanwhile, or is there already."""

    default_reason = "Conflict"


class NotReady(FlambeauError):
    """The thing is there but can't answer yet; trying again later can help."""

    default_reason = "NotReady"


class Overloaded(FlambeauError):
    """A queue is full; ``retry_after_seconds`` says when to try again."""

    default_reason = "Overloaded"

    def __init__(self, message: str, *, hint: str | None = None, reason: str | None = None, retry_after_seconds: float = 1.0) -> None:
        super().__init__(message, hint=hint, reason=reason)
        self.retry_after_seconds = retry_after_seconds


class TimedOut(FlambeauError):
    """A deadline passed; the text names the clock and its length."""

    default_reason = "TimedOut"


class WorkerLost(FlambeauError):
    """The process that worked on it died; the text says how (exit code or signal, phase, last line)."""

    default_reason = "WorkerLost"


class Unavailable(FlambeauError):
    """Something we depend on (an endpoint, a disk, a peer) can't be used now."""

    default_reason = "Unavailable"


class Internal(FlambeauError):
    """A defect of ours."""

    default_reason = "Internal"
