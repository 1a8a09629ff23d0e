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

from flambeau.foundation.protobuf_wire import head_of
from flambeau.serving.protocol.protobuf_wire import taken_out

_SET = "protocol/protos/services.protoset"


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
    number = response.DESCRIPTOR.fields_by_name[name].number
    pieces: list[bytes | memoryview] = [response.SerializeToString()]
    for content in contents:
        pieces += (head_of(number, len(content)), content)
    return b"".join(pieces)


def read_apart(type_: Any, name: str, data: bytes) -> tuple[Any, list[bytes] | list[memoryview]]:
    """Read a message without one of its repeated bytes fields; return it and that field's elements, uncopied where they can be.

    protobuf itself copies 600 KB twice: into the message and out of it.

    Args:
        type_: the message's class.
        name: the field's.
        data: the message as it travels.
    """
    found = taken_out(data, type_.DESCRIPTOR.fields_by_name[name].number)
    if found is not None:
        rest, contents = found
        return type_.FromString(rest), contents
    whole = type_.FromString(data)
    elements = list(getattr(whole, name))
    whole.ClearField(name)
    return whole, elements


def service(name: str) -> Any:
    """Return a service's descriptor by its full name."""
    return pool().FindServiceByName(name)
