from __future__ import annotations

import json

import pytest

from flambeau.foundation import errors
from flambeau.serving.frontends.status import error_answer, status_of
from flambeau.serving.model import Protocol


@pytest.mark.parametrize(
    ("error", "status", "name"),
    [
        (errors.InvalidInput("x"), 400, "BadRequestException"),
        (errors.TooLarge("x"), 413, "RequestEntityTooLargeException"),
        (errors.NotAllowed("x"), 405, "MethodNotAllowedException"),
        (errors.NotFound("x"), 404, "ResourceNotFoundException"),
        (errors.NotFound("x", reason="ModelNotFound"), 404, "ModelNotFoundException"),
        (errors.NotFound("x", reason="ModelVersionNotFound"), 404, "ModelVersionNotFoundException"),
        (errors.Denied("x"), 403, "InvalidKeyException"),
        (errors.Conflict("x"), 409, "ConflictStatusException"),
        (errors.NotReady("x"), 503, "ServiceUnavailableException"),
        (errors.Overloaded("x"), 503, "ServiceUnavailableException"),
        (errors.Unavailable("x"), 503, "ServiceUnavailableException"),
        (errors.TimedOut("x"), 504, "RequestTimeoutException"),
        (errors.WorkerLost("x"), 500, "InternalServerException"),
        (errors.Internal("x"), 500, "InternalServerException"),
        (errors.FlambeauError("x"), 500, "InternalServerException"),
    ],
)
def test_every_situation_has_its_status(error: errors.FlambeauError, status: int, name: str) -> None:
    assert status_of(error) == (status, name)


def test_every_class_of_the_tree_is_in_the_table() -> None:
    for kind in errors.FlambeauError.__subclasses__():
        if kind is not errors.Internal and kind.__module__ == errors.__name__:
            assert status_of(kind("x"))[1] != "InternalServerException" or kind is errors.WorkerLost


def test_shapes() -> None:
    error = errors.NotFound("Model not found: m", hint="the models here are: a", reason="ModelNotFound")
    _, _, torchserve = error_answer(error, Protocol.TORCHSERVE)
    assert torchserve.startswith(b'{\n  "code": 404,')
    assert torchserve.endswith(b"}\n")
    assert json.loads(torchserve) == {
        "code": 404,
        "type": "ModelNotFoundException",
        "message": "Model not found: m (the models here are: a)",
    }
    for protocol in (Protocol.V1, Protocol.V2):
        assert json.loads(error_answer(error, protocol)[2]) == {"error": "Model not found: m (the models here are: a)"}


@pytest.mark.parametrize(
    ("error", "seconds"),
    [
        (errors.Overloaded("x", retry_after_seconds=2.2), b"3"),
        (errors.Overloaded("x", retry_after_seconds=0.1), b"1"),
        (errors.NotReady("x"), b"1"),
        (errors.NotFound("x"), None),
    ],
)
def test_retry_after(error: errors.FlambeauError, seconds: bytes | None) -> None:
    assert dict(error_answer(error, Protocol.V1)[1]).get(b"retry-after") == seconds
