"""Protobuf's wire form, for those who look at a message or make one without its schema, or without the library's copies. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from enum import IntEnum
from typing import NamedTuple

_VARINT_BYTES_MAX = 10


class Wire(IntEnum):
    """How a field's content stands in a message."""

    VARINT = 0
    FIXED64 = 1
    BYTES = 2
    """Behind its length: a text, bytes, another message, packed numbers."""
    FIXED32 = 5


_FIXED_BYTES = {Wire.FIXED64: 8, Wire.FIXED32: 4}


class Field(NamedTuple):
    """Where a field of a message stands."""

    number: int
    wire: int
    begin: int
    """Of its content."""
    end: int
    """There the next field's tag stands."""


def fields(data: bytes) -> Iterator[Field]:
    """Yield a message's own fields, in their order.

    Raises:
        ValueError: it is cut short, or is no message.
    """
    at = 0
    while at < len(data):
        tag, begin = varint_at(data, at)
        wire = tag & 7
        if wire == Wire.BYTES:
            size, begin = varint_at(data, begin)
            at = begin + size
        elif wire == Wire.VARINT:
            at = varint_at(data, begin)[1]
        elif wire in _FIXED_BYTES:
            at = begin + _FIXED_BYTES[Wire(wire)]
        else:
            raise ValueError(f"wire type {wire} does not exist")
        if at > len(data):
            raise ValueError("it is cut short")
        yield Field(tag >> 3, wire, begin, at)


def varint_at(data: bytes, at: int) -> tuple[int, int]:
    """Return the number that stands somewhere, and where it ends.

    Raises:
        ValueError: it does not end.
    """
    number = 0
    for place in range(_VARINT_BYTES_MAX):
        if at + place >= len(data):
            raise ValueError("it is cut short")
        byte = data[at + place]
        number |= (byte & 0x7F) << (7 * place)
        if byte < 0x80:
            return number, at + place + 1
    raise ValueError("a number is longer than ten bytes")


def varint(number: int) -> bytes:
    """Return a number as it is written: seven bits a byte, the lowest first, a set eighth bit where more follow."""
    written = bytearray()
    while number > 0x7F:
        written.append(number & 0x7F | 0x80)
        number >>= 7
    written.append(number)
    return bytes(written)


def head_of(number: int, size: int) -> bytes:
    """Return what stands before the content of a field with a length.

    Args:
        number: the field's.
        size: the content's bytes.
    """
    return varint(number << 3 | Wire.BYTES) + varint(size)
