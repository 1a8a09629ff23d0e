"""The messages and services of gRPC, in a descriptor pool of their own.

Nothing is registered in protobuf's default pool: tritonclient and the kserve SDK define the same names there, and a handler may import
either. Classes are made from the descriptor set that ``make protos`` compiles; there is no generated code, so any protobuf runtime in our
range reads it.
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

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


def service(name: str) -> Any:
    """Return a service's descriptor by its full name."""
    return pool().FindServiceByName(name)
