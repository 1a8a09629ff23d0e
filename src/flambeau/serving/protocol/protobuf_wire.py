"""Protobuf's wire form, as far as large fields are taken out of a message or put into one without being copied by its library. Pure.

``frontends.grpc_messages`` calls it for whole messages, ``v2_grpc`` for the numbers of a tensor. What is malformed stays for protobuf to
refuse.
"""

from __future__ import annotations

FIELDS_MAX = 256
"""Of a message that is walked here, which is Python; protobuf reads those with more."""
_VARINT_BYTES_MAX = 10

_LENGTH_DELIMITED = 2
"""A wire type; it is the lowest three bits of a field's tag."""


def head_of(number: int, size: int) -> bytes:
    """Return what stands before the content of a length-delimited field.

    Args:
        number: the field's.
        size: the content's bytes.
    """
    return _varint(number << 3 | _LENGTH_DELIMITED) + _varint(size)


def taken_out(data: bytes, number: int) -> tuple[bytes, list[memoryview]] | None:
    """Return a message without one of its length-delimited fields, and that field's contents as parts of the data.

    None: it is malformed, or has more than FIELDS_MAX fields; protobuf is to read the whole.

    Args:
        data: a message.
        number: the field's.
    """
    view, wanted = memoryview(data), number << 3 | _LENGTH_DELIMITED
    rest: list[memoryview] = []
    contents: list[memoryview] = []
    at = kept_from = 0
    try:
        for _ in range(FIELDS_MAX + 1):
            if at == len(data):
                return b"".join([*rest, view[kept_from:]]), contents
            tag, content_at = _varint_at(data, at)
            content_at, end = _content_of(data, tag, content_at)
            if tag == wanted:
                rest.append(view[kept_from:at])
                contents.append(view[content_at:end])
                kept_from = end
            at = end
    except (IndexError, ValueError):
        pass
    return None


def _content_of(data: bytes, tag: int, at: int) -> tuple[int, int]:
    """Return where a field's content begins and ends.

    Raises:
        IndexError: it goes beyond the message.
        ValueError: it is of a wire type that no longer is, or of none.
    """
    match tag & 7:
        case 2:
            size, at = _varint_at(data, at)
            end = at + size
        case 0:  # a number
            _, end = _varint_at(data, at)
        case 1:  # eight bytes
            end = at + 8
        case 5:  # four bytes
            end = at + 4
        case other:
            raise ValueError(f"wire type {other}")
    if end > len(data):
        raise IndexError
    return at, end


def _varint_at(data: bytes, at: int) -> tuple[int, int]:
    """Return the number that stands somewhere, and where it ends."""
    number = 0
    for place in range(_VARINT_BYTES_MAX):
        byte = data[at + place]
        number |= (byte & 0x7F) << (7 * place)
        if byte < 0x80:
            return number, at + place + 1
    raise ValueError("a number without an end")


def _varint(number: int) -> bytes:
    """Return a number as protobuf writes it: seven bits a byte, the lowest first, a set eighth bit where more follow."""
    written = bytearray()
    while number > 0x7F:
        written.append(number & 0x7F | 0x80)
        number >>= 7
    written.append(number)
    return bytes(written)
