"""The messages and services of gRPC, in a descriptor pool of their own.

Nothing is registered in protobuf's default pool: tritonclient and the kserve SDK define the same names there, and a handler may import
either. Classes are made from the descriptor set that ``make protos`` compiles; there is no generated code, so any protobuf runtime in our
range reads it.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from importlib.resources import files
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

_SET = "protocol/protos/services.protoset"
_LENGTH_DELIMITED = 2
"""Protobuf's wire type of bytes."""


@cache
def pool() -> descriptor_pool.DescriptorPool:
    """Return the pool that holds every service of ours and no other."""
    private = descriptor_pool.DescriptorPool()
    content = files("flambeau.serving").joinpath(_SET).read_bytes()
    for file in descriptor_pb2.FileDescriptorSet.FromString(content).file:
        private.AddSerializedFile(file.SerializeToString())
    return private


@cache
def message(name: str) -> Any:
    """Return a message's class by its full name."""
    return message_factory.GetMessageClass(pool().FindMessageTypeByName(name))


def wire_form(response: Any, name: str, contents: Iterable[bytes | memoryview]) -> bytes:
    """Return a message as it travels, with contents of one of its bytes fields that it does not hold yet.

    Fields may travel in any order. protobuf itself writes 600 KB in 700 us, most of it page faults of a buffer that it doubles again and
    again; this takes 10.

    Args:
        response: the rest of the message.
        name: the field's.
        contents: one element, or as many as a repeated field is to have.
    """
    tag = _varint(response.DESCRIPTOR.fields_by_name[name].number << 3 | _LENGTH_DELIMITED)
    pieces: list[bytes | memoryview] = [response.SerializeToString()]
    for content in contents:
        pieces += (tag, _varint(len(content)), content)
    return b"".join(pieces)


def _varint(number: int) -> bytes:
    """Return a number as protobuf writes it: seven bits a byte, the lowest first, a set eighth bit where more follow."""
    written = bytearray()
    while number > 0x7F:
        written.append(number & 0x7F | 0x80)
        number >>= 7
    written.append(number)
    return bytes(written)


def service(name: str) -> Any:
    """Return a service's descriptor by its full name."""
    return pool().FindServiceByName(name)
