from __future__ import annotations

import grpc
import pytest

from flambeau.serving.frontends.grpc_service import DETAILS_CHARS_MAX, Refused, peer_of
from flambeau.serving.frontends.status import grpc_code_of


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (400, "INVALID_ARGUMENT"),
        (401, "UNAUTHENTICATED"),
        (403, "PERMISSION_DENIED"),
        (404, "NOT_FOUND"),
        (409, "ABORTED"),
        (413, "RESOURCE_EXHAUSTED"),
        (416, "OUT_OF_RANGE"),
        (418, "FAILED_PRECONDITION"),
        (429, "RESOURCE_EXHAUSTED"),
        (499, "CANCELLED"),
        (500, "INTERNAL"),
        (501, "UNIMPLEMENTED"),
        (503, "UNAVAILABLE"),
        (504, "DEADLINE_EXCEEDED"),
        (507, "INTERNAL"),
        (302, "UNKNOWN"),
    ],
)
def test_http_status_to_grpc_code(status: int, code: str) -> None:
    assert grpc_code_of(status) == code
    assert Refused(status, "x").code is grpc.StatusCode[code]


def test_a_long_text_is_cut_and_a_peer_is_told_shortly() -> None:
    assert len(Refused(400, "x" * 10_000).text) == DETAILS_CHARS_MAX
    assert [peer_of(text) for text in ("ipv4:127.0.0.1:5", "ipv6:%5B::1%5D:5", "unix:/x")] == ["127.0.0.1:5", "[::1]:5", "unix:/x"]
