from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from flambeau.foundation.protobuf_wire import head_of
from flambeau.serving.protocol.protobuf_wire import FIELDS_MAX, taken_out


def _field(number: int, content: bytes) -> bytes:
    return head_of(number, len(content)) + content


@given(st.lists(st.tuples(st.sampled_from([1, 7, 8, 2000]), st.binary(max_size=200)), max_size=20))
def test_a_field_is_taken_out_wherever_it_stands(fields: list[tuple[int, bytes]]) -> None:
    found = taken_out(b"".join(_field(number, content) for number, content in fields), 7)
    assert found is not None
    assert found[0] == b"".join(_field(number, content) for number, content in fields if number != 7)
    assert found[1] == [content for number, content in fields if number == 7]


def test_other_wire_types_are_stepped_over() -> None:
    others = b"\x08\xac\x02" + b"\x11" + b"\x3a" * 8 + b"\x1d" + b"\x3a" * 4
    found = taken_out(others + _field(7, b"content") + others, 7)
    assert found is not None
    assert (found[0], bytes(found[1][0]), len(found[1])) == (others * 2, b"content", 1)


@given(st.binary(max_size=60))
def test_any_bytes_are_kept_or_left_to_protobuf(data: bytes) -> None:
    found = taken_out(data, 7)
    if found is not None:
        assert len(found[0]) + sum(map(len, found[1])) <= len(data)


def test_a_message_of_too_many_fields_is_left_to_protobuf() -> None:
    assert taken_out(_field(7, b"") * FIELDS_MAX, 7) is not None
    assert taken_out(_field(7, b"") * (FIELDS_MAX + 1), 7) is None
