from __future__ import annotations

import uuid

import pytest

from flambeau.serving.frontends.request_id import request_id


@pytest.mark.parametrize("sent", [b"abc", b"4bf92f35-77b3:a/b=", b"x" * 128])
def test_a_sane_id_is_kept(sent: bytes) -> None:
    assert request_id(sent) == sent.decode()


@pytest.mark.parametrize("sent", [None, b"", b"a b", b"x\r\ny: z", b"x" * 129, "é".encode()])
def test_else_it_is_new_and_a_uuid(sent: bytes | None) -> None:
    first, second = request_id(sent), request_id(sent)
    assert first != second
    assert uuid.UUID(first).version == 4
