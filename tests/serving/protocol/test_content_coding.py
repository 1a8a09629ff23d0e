from __future__ import annotations

import gzip
import zlib

import pytest

from flambeau.foundation.errors import InvalidInput, TooLarge
from flambeau.serving.model import Job, Method, Protocol
from flambeau.serving.protocol import content_coding
from flambeau.serving.protocol.content_coding import uncompressed


def job(body: bytes, coding: str | None) -> Job:
    headers = () if coding is None else (("Content-Encoding", coding),)
    return Job("id", Protocol.V2, Method.PREDICT, "application/json", headers, body, head_text=b"old")


@pytest.mark.parametrize(
    ("body", "coding"),
    [
        (b"{}", None),
        (b"{}", "identity"),
        (gzip.compress(b"{}"), "gzip"),
        (gzip.compress(b"{}"), " X-GZip"),
        (zlib.compress(b"{}"), "deflate"),
    ],
)
def test_a_body_is_read_as_the_client_meant_it(body: bytes, coding: str | None) -> None:
    assert uncompressed(job(body, coding)).body == b"{}"


@pytest.mark.parametrize(
    ("body", "coding", "words"),
    [
        (b"{}", "br", "'br' is not understood"),
        (b"{}", "gzip", "is not gzip, as its Content-Encoding says"),
        (gzip.compress(b"{}")[:-9], "gzip", "ends before its gzip data do"),
    ],
)
def test_what_is_not_of_the_coding_is_refused(body: bytes, coding: str, words: str) -> None:
    with pytest.raises(InvalidInput, match=words):
        uncompressed(job(body, coding))


def test_a_bomb_is_not_unpacked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(content_coding, "BODY_BYTES_MAX", 1000)
    assert len(uncompressed(job(gzip.compress(bytes(1000)), "gzip")).body) == 1000
    with pytest.raises(TooLarge, match="over 1000 bytes"):
        uncompressed(job(gzip.compress(bytes(1001)), "gzip"))
