"""Take large fields out of a protobuf message without its library's copies. Pure.

``frontends.grpc_messages`` calls it for whole messages, ``v2_grpc`` for the numbers of a tensor. What is malformed stays for protobuf to
refuse.
"""

from __future__ import annotations

from flambeau.foundation.protobuf_wire import Wire, fields

FIELDS_MAX = 256
"""Of a message that is walked here, which is Python; protobuf reads those with more."""


def taken_out(data: bytes, number: int) -> tuple[bytes, list[memoryview]] | None:
    """Return a message without one of its fields that have a length, and that field's contents as parts of the data.

    None: it is malformed, or has more than FIELDS_MAX fields; protobuf is to read the whole.

    Args:
        data: a message.
        number: the field's.
    """
    view = memoryview(data)
    rest: list[memoryview] = []
    contents: list[memoryview] = []
    at = kept_from = 0
    try:
        for count, field in enumerate(fields(data), 1):
            if count > FIELDS_MAX:
                return None
            if (field.number, field.wire) == (number, Wire.BYTES):
                rest.append(view[kept_from:at])
                contents.append(view[field.begin : field.end])
                kept_from = field.end
            at = field.end
    except ValueError:
        return None
    return b"".join([*rest, view[kept_from:]]), contents
