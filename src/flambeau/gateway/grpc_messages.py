"""Messages inside a gRPC stream's bytes, and what of a V2 answer two models that agree still differ in. Pure.

The gateway passes calls on without looking into them; only copies for a logger or a comparison are read.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator

UNPACKED_BYTES_MAX = 4 * 1024 * 1024
"""Longest message that is unpacked, once it is."""

_PREFIX_BYTES = 5
"""Before each message: whether it is compressed, and its length."""
_AUTOMATIC_HEADER = 47
"""For zlib: either of gzip's and zlib's own forms."""
_UNPACKABLE = (b"gzip", b"deflate")

_INFER_METHOD = b"/inference.GRPCInferenceService/ModelInfer"
_OWN_FIELDS = frozenset((1, 2, 3))
"""Of ModelInferResponse: model_name, model_version, id."""
_PARAMETERS_FIELD = 4
"""A map, whose entries come in any order."""
_FIXED_BYTES = {1: 8, 5: 4}
"""By wire type."""


def is_single(frames: bytes) -> bool:
    """Tell whether a stream's bytes are exactly one message."""
    return len(frames) >= _PREFIX_BYTES and _PREFIX_BYTES + int.from_bytes(frames[1:_PREFIX_BYTES], "big") == len(frames)


def messages(frames: bytes, encoding: bytes | None) -> list[bytes] | None:
    """Return the messages, unpacked; None where they end early, or one can't be unpacked within UNPACKED_BYTES_MAX.

    Args:
        frames: a whole stream's bytes.
        encoding: what the header ``grpc-encoding`` says.
    """
    found, at = [], 0
    while at < len(frames):
        end = at + _PREFIX_BYTES + int.from_bytes(frames[at + 1 : at + _PREFIX_BYTES], "big")
        if at + _PREFIX_BYTES > len(frames) or end > len(frames):
            return None
        content: bytes | None = frames[at + _PREFIX_BYTES : end]
        if frames[at]:
            content = _unpacked(content or b"", encoding)
        if content is None:
            return None
        found.append(content)
        at = end
    return found


def comparable(method: bytes, message: bytes) -> object:
    """Return what a message says, without what a V2 answer says of its own model.

    Args:
        method: the call's path.
        message: of the answer.
    """
    if method != _INFER_METHOD:
        return message
    try:
        fields = list(_fields(message))
    except ValueError:
        return message
    kept = [field for field in fields if field[0] not in _OWN_FIELDS]
    return sorted(field for field in kept if field[0] == _PARAMETERS_FIELD), [field for field in kept if field[0] != _PARAMETERS_FIELD]


def _unpacked(content: bytes, encoding: bytes | None) -> bytes | None:
    if encoding not in _UNPACKABLE:
        return None
    unpacking = zlib.decompressobj(_AUTOMATIC_HEADER)
    try:
        whole = unpacking.decompress(content, UNPACKED_BYTES_MAX + 1)
    except zlib.error:
        return None
    return whole if unpacking.eof and len(whole) <= UNPACKED_BYTES_MAX else None


def _fields(message: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield (number, bytes) of a protobuf message's own fields.

    Raises:
        ValueError: it is none.
    """
    at = 0
    while at < len(message):
        key, begin = _number(message, at)
        wire = key & 7
        if wire == 0:
            end = _number(message, begin)[1]
        elif wire == 2:
            size, begin = _number(message, begin)
            end = begin + size
        elif wire in _FIXED_BYTES:
            end = begin + _FIXED_BYTES[wire]
        else:
            raise ValueError("a group, or no protobuf")
        if end > len(message):
            raise ValueError("a field ends behind its message")
        yield key >> 3, message[begin:end]
        at = end


def _number(message: bytes, at: int) -> tuple[int, int]:
    """Return a varint and where it ends."""
    value = shift = 0
    while at < len(message) and shift < 64:
        byte = message[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
    raise ValueError("a number does not end")
