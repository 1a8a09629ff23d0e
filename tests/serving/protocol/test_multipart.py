from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flambeau.foundation.errors import InvalidInput, TooLarge
from flambeau.serving.protocol.multipart import PART_HEAD_BYTES_MAX, PARTS_MAX, Part, parameter_of, split_parts

TYPE = "multipart/form-data; boundary=XX"


def body(*parts: tuple[str, bytes]) -> bytes:
    return b"".join(b"--XX\r\n" + head.encode() + b"\r\n\r\n" + content + b"\r\n" for head, content in parts) + b"--XX--\r\n"


def test_fields_and_files() -> None:
    data = body(
        ('Content-Disposition: form-data; name="text"', b"hello"),
        ('Content-Disposition: form-data; name="file"; filename="a b.png"\r\nContent-Type: image/png; q=1', b"\x89PNG\r\n--X\r\n"),
        ('content-disposition: form-data; name=bare; filename=""', b""),
    )
    assert split_parts(data, TYPE) == [
        Part("text", "", b"hello"),
        Part("file", "image/png", b"\x89PNG\r\n--X\r\n"),
        Part("bare", "application/octet-stream", b""),
    ]


def test_preamble_and_quoted_boundary() -> None:
    data = b"ignored\r\n" + body(('Content-Disposition: form-data; name="a"', b"1"))
    assert split_parts(data, 'multipart/form-data; charset=utf-8; boundary="XX"') == [Part("a", "", b"1")]


@pytest.mark.parametrize(
    ("data", "content_type", "what"),
    [
        (b"", "multipart/form-data", "no usable boundary"),
        (b"", "multipart/form-data; boundary=" + "x" * 500, "no usable boundary"),
        (b"", TYPE, "closing boundary is missing"),
        (b"--XX\r\nContent-Disposition: form-data; name=a\r\n\r\nhalf", TYPE, "closing boundary is missing"),
        (b"--XX\r\nno header end--XX--", TYPE, "closing boundary"),
        (b"--XX\r\nContent-Disposition: form-data\r\n\r\nx\r\n--XX--", TYPE, "part 0 of the multipart body has no name"),
        (b"--XX\r\nbroken\r\n--XX--", TYPE, "part 0 of the multipart body has no end of its header"),
    ],
)
def test_what_cannot_be_read_is_refused(data: bytes, content_type: str, what: str) -> None:
    with pytest.raises(InvalidInput, match=what):
        split_parts(data, content_type)


def test_parts_and_their_headers_are_bounded() -> None:
    part = ('Content-Disposition: form-data; name="a"', b"1")
    assert len(split_parts(body(*[part] * PARTS_MAX), TYPE)) == PARTS_MAX
    with pytest.raises(TooLarge, match="more than 256 parts"):
        split_parts(body(*[part] * (PARTS_MAX + 1)), TYPE)
    with pytest.raises(TooLarge, match="header of part 0"):
        split_parts(body((part[0] + "\r\nX: " + "x" * PART_HEAD_BYTES_MAX, b"")), TYPE)


def test_parameters() -> None:
    assert parameter_of(r'form-data; name="a\"b;c"; x=y', "name") == 'a"b;c'
    assert parameter_of("form-data; filename=x", "name") is None


@given(st.binary(max_size=300))
def test_any_bytes_are_parts_or_refused(data: bytes) -> None:
    try:
        split_parts(data, TYPE)
    except InvalidInput:
        return
