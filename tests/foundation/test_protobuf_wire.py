from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flambeau.foundation.protobuf_wire import Wire, fields, head_of, varint, varint_at


@given(st.integers(0, 2**64 - 1), st.binary(max_size=3))
def test_numbers_survive(number: int, behind: bytes) -> None:
    written = varint(number)
    assert varint_at(b"x" + written + behind, 1) == (number, 1 + len(written))


@given(st.lists(st.tuples(st.integers(1, 2**29 - 1), st.binary(max_size=300)), max_size=5))
def test_fields_are_found_where_they_stand(written: list[tuple[int, bytes]]) -> None:
    message = b"".join(head_of(number, len(content)) + content for number, content in written)
    assert [(field.number, message[field.begin : field.end]) for field in fields(message)] == written


def test_every_kind_of_field_is_stepped_over() -> None:
    message = b"\x08\xac\x02" + b"\x11" + bytes(8) + b"\x1d" + bytes(4) + head_of(4, 1) + b"x"
    assert [(field.number, field.wire, field.end - field.begin) for field in fields(message)] == [
        (1, Wire.VARINT, 2),
        (2, Wire.FIXED64, 8),
        (3, Wire.FIXED32, 4),
        (4, Wire.BYTES, 1),
    ]


@pytest.mark.parametrize("message", [b"\x08", b"\x0a\x05ab", b"\x11abc", b"\x0b", b"\x08" + b"\xff" * 11])
def test_what_is_no_message_is_refused(message: bytes) -> None:
    with pytest.raises(ValueError, match=r"cut short|wire type 3|longer than ten bytes"):
        list(fields(message))
