"""V2's binary tensor extension: JSON first, then the tensors' bytes one after the other, little endian and row-major.

The header ``Inference-Header-Content-Length`` says where the JSON ends, ``binary_data_size`` in an input's parameters how many of the
bytes behind it are its own. ``v2`` calls this for requests and answers, ``v2_grpc`` makes the same form of a gRPC message. Pure.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from flambeau.foundation.errors import InvalidInput
from flambeau.serving.model import Job
from flambeau.serving.protocol.v2_tensor import NAME_CHARS_TOLD_MAX, Described, wrong_count

if TYPE_CHECKING:
    import numpy

HEADER_LENGTH = "inference-header-content-length"
CONTENT_TYPE = "application/octet-stream"
HINT = "Inference-Header-Content-Length says how many bytes of the body are the JSON before the tensors"

_LENGTH = struct.Struct("<I")


def split_body(job: Job) -> tuple[bytes, RawTensors]:
    """Return a body's JSON, and the bytes behind it (none where the request names no length).

    Raises:
        InvalidInput: the length is no number or goes beyond the body.
    """
    text = next((value for name, value in job.headers if name.lower() == HEADER_LENGTH), None)
    if text is None:
        return job.body, RawTensors(b"")
    size = int(text) if text.isascii() and text.isdecimal() and len(text) < 20 else -1
    if not 0 <= size <= len(job.body):
        raise InvalidInput(
            f"Inference-Header-Content-Length is {text[:NAME_CHARS_TOLD_MAX]!r}, the body has {len(job.body)} bytes",
            hint=HINT,
        )
    return job.body[:size], RawTensors(memoryview(job.body)[size:])


def size_of(tensor: Any, where: str) -> int | None:
    """Return the bytes that an input says it has behind the JSON; None: its data is in the JSON.

    Raises:
        InvalidInput: the size is no whole number, or there is data besides.
    """
    parameters = tensor.get("parameters")
    if not isinstance(parameters, dict) or "binary_data_size" not in parameters:
        return None
    size = parameters["binary_data_size"]
    if type(size) is not int or size < 0:
        raise InvalidInput(f"{where}: binary_data_size must be a whole number from 0")
    if "data" in tensor:
        raise InvalidInput(f'{where}: it has both "data" and binary_data_size')
    return size


def without_size(tensor: dict[str, Any]) -> dict[str, Any]:
    """Return an input without what only says how it travelled: a handler gets the same row in every form."""
    parameters = {name: value for name, value in tensor["parameters"].items() if name != "binary_data_size"}
    rest = {name: value for name, value in tensor.items() if name != "parameters"}
    return {**rest, "parameters": parameters} if parameters else rest


class RawTensors:
    """The bytes behind a request's JSON, taken input by input.

    Args:
        content: copied once, so that handlers may write into what they get.
    """

    def __init__(self, content: bytes | memoryview) -> None:
        self._content = memoryview(bytearray(content))
        self._at = 0

    def take(self, tensor: Described, size: int) -> Any:
        """Return the next input's data: an array of its shape, for BYTES one bytes object or a list of them.

        Raises:
            InvalidInput: there are not so many bytes, or the shape asks for another number.
        """
        left = len(self._content) - self._at
        if size > left:
            raise InvalidInput(f"{tensor.where}: binary_data_size is {size}, the body has {left} bytes left")
        own = self._content[self._at : self._at + size]
        self._at += size
        if tensor.datatype.bytes_each == 0:
            return _strings_of(own, tensor)
        wanted = tensor.count * tensor.datatype.bytes_each
        if size != wanted:
            raise InvalidInput(
                f"{tensor.where}: shape {tensor.shape} of {tensor.datatype.name} takes {wanted} bytes, binary_data_size is {size}"
            )
        return _array_of(own, tensor)

    def refuse_rest(self) -> None:
        """Refuse bytes that belong to no input.

        Raises:
            InvalidInput: there are some.
        """
        left = len(self._content) - self._at
        if left:
            raise InvalidInput(f"{left} bytes follow the last tensor", hint="give each binary input its binary_data_size, in their order")


def packed_strings(elements: Sequence[bytes]) -> bytes:
    """Return BYTES elements as they travel: each with its length in four bytes before it."""
    return b"".join(part for element in elements for part in (_LENGTH.pack(len(element)), element))


def unpacked_strings(content: memoryview) -> list[bytes]:
    """Return the elements of a BYTES tensor.

    Raises:
        ValueError: an element goes beyond the end.
    """
    elements: list[bytes] = []
    at, end = 0, len(content)
    while at < end:
        if end - at < _LENGTH.size:
            raise ValueError(f"{end - at} bytes follow the last element")
        (size,) = _LENGTH.unpack_from(content, at)
        at += _LENGTH.size
        if size > end - at:
            raise ValueError(f"element {len(elements)} says {size} bytes, {end - at} are left")
        elements.append(bytes(content[at : at + size]))
        at += size
    return elements


def bfloat16_bytes(array: numpy.ndarray[Any, Any]) -> bytes:
    """Return float32 numbers that a bfloat16 can hold as its bytes: their upper halves."""
    import numpy  # noqa: PLC0415 - as in v2: only who needs it pays

    return (numpy.ascontiguousarray(array, "<f4").view("<u4") >> 16).astype("<u2").tobytes()


def _strings_of(content: memoryview, tensor: Described) -> bytes | list[bytes]:
    try:
        elements = unpacked_strings(content)
    except ValueError as error:
        raise InvalidInput(f"{tensor.where}: its BYTES cannot be read: {error}", hint="each element has its length before it") from error
    if len(elements) != tensor.count:
        raise wrong_count(tensor, len(elements))
    return elements[0] if tensor.count == 1 else elements


def _array_of(content: memoryview, tensor: Described) -> Any:
    import numpy  # noqa: PLC0415

    from flambeau.serving.protocol.v2_array import InputArray  # noqa: PLC0415 - it imports numpy

    if tensor.datatype.name == "BF16":
        array = (numpy.frombuffer(content, "<u2").astype("<u4") << 16).view("<f4")
    else:
        dtype = numpy.dtype(tensor.datatype.dtype).newbyteorder("<")
        array = numpy.frombuffer(content, dtype)
        if dtype.kind == "b":
            # A byte of 2 would be a boolean that is neither true nor false.
            array = numpy.frombuffer(content, "uint8") != 0
    return array.reshape(tensor.shape).view(InputArray)
