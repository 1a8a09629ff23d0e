"""Messages inside a gRPC stream's bytes, and what of a V2 answer two models that agree still differ in. Pure.

The gateway passes calls on without looking into them; only copies for a logger or a comparison are read.
"""

from __future__ import annotations

import zlib

from flambeau.foundation.protobuf_wire import fields

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
        found = [(field.number, message[field.begin : field.end]) for field in fields(message)]
    except ValueError:
        return message
    kept = [field for field in found if field[0] not in _OWN_FIELDS]
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
