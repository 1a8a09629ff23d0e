"""How a handler and its loading fail.

Handlers raise the first two; :func:`~flambeau.serving.handlers.service.load_service` raises the last.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

from flambeau.foundation.errors import FlambeauError


class PredictionException(Exception):
    """Answer a request with a status and a text of the handler's choosing.

    Args:
        message: what the client reads.
        error_code: the HTTP status.
    """

    def __init__(self, message: str, error_code: int = 500) -> None:
        super().__init__(message)
        self.message = message
        self.error_code = error_code

    def __str__(self) -> str:
        return f"{self.message} : {self.error_code}"


class InvalidRows(Exception):
    """Refuse some rows of a batch before any of it was worked on.

    The service answers the refused rows and hands the others to the handler again, so that one bad picture never fails its
    neighbours.

    Args:
        errors: what is wrong, by the row's place in the batch; at least one.
    """

    def __init__(self, errors: Mapping[int, Exception]) -> None:
        assert errors, "refusing no row would hand the same batch over for ever"
        super().__init__("; ".join(f"row {index}: {error}" for index, error in errors.items()))
        self.errors = dict(errors)


class UnevenRows(Exception):
    """Ask for a batch in parts, before any of it was worked on: its rows can't be one tensor.

    Args:
        groups: places of rows that fit together; at least two groups, each place in one of them.
    """

    def __init__(self, groups: Sequence[Sequence[int]]) -> None:
        assert len(groups) > 1, "one group is the same batch again"
        super().__init__(f"the rows have {len(groups)} different shapes")
        self.groups = groups


class LoadError(FlambeauError):
    """A handler or its model can't be loaded; the text names the model, the handler, the phase and the cause.

    Args:
        message: one sentence.
        hint: what to do about it.
        traceback_text: the user's own traceback, for the log.
    """

    default_reason: ClassVar[str] = "HandlerLoadFailed"

    def __init__(self, message: str, *, hint: str | None = None, traceback_text: str = "") -> None:
        super().__init__(message, hint=hint)
        self.traceback_text = traceback_text
