"""What a V2 tensor says of itself: one check of name, datatype and shape for JSON, binary and gRPC, so that all three refuse alike."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from flambeau.foundation.errors import InvalidInput, TooLarge
from flambeau.serving.protocol.v1 import kind_of

ELEMENTS_MAX = 1 << 28
"""Elements of one tensor; a shape that says more is refused before anything is allocated for it."""
DIMENSIONS_MAX = 32
"""Dimensions of one tensor; numpy's own bound before version 2."""
INPUTS_MAX = 1024
"""Input tensors of one request."""
NAME_CHARS_TOLD_MAX = 64
"""Of a client's own words in an error text."""


@dataclass(frozen=True, slots=True)
class Datatype:
    """One word of the protocol and what it is elsewhere."""

    name: str
    dtype: str
    """Numpy's; BF16 has none and is handed to handlers as float32."""
    kinds: str
    """Which of numpy's kinds JSON data may have: i, u integers, f floats, b booleans."""
    bytes_each: int
    """Of one element in binary; 0: elements are of different lengths (BYTES)."""
    contents: str = ""
    """The list of a gRPC InferTensorContents that holds it; empty: raw only."""
    code: str = ""
    """Its letter in the standard library's ``array``."""


_ALL = (
    Datatype("BOOL", "bool", "b", 1, "bool_contents", "B"),
    Datatype("INT8", "int8", "iu", 1, "int_contents", "b"),
    Datatype("INT16", "int16", "iu", 2, "int_contents", "h"),
    Datatype("INT32", "int32", "iu", 4, "int_contents", "i"),
    Datatype("INT64", "int64", "iu", 8, "int64_contents", "q"),
    Datatype("UINT8", "uint8", "iu", 1, "uint_contents", "B"),
    Datatype("UINT16", "uint16", "iu", 2, "uint_contents", "H"),
    Datatype("UINT32", "uint32", "iu", 4, "uint_contents", "I"),
    Datatype("UINT64", "uint64", "iu", 8, "uint64_contents", "Q"),
    Datatype("FP16", "float16", "iuf", 2),
    Datatype("BF16", "float32", "iuf", 2),
    Datatype("FP32", "float32", "iuf", 4, "fp32_contents", "f"),
    Datatype("FP64", "float64", "iuf", 8, "fp64_contents", "d"),
    Datatype("BYTES", "", "", 0, "bytes_contents"),
)
DATATYPES = {datatype.name: datatype for datatype in _ALL}


@dataclass(frozen=True, slots=True)
class Described:
    """A tensor whose description is in order; its data is not read yet."""

    name: str
    datatype: Datatype
    shape: list[int]
    count: int
    """Elements that the shape says."""
    where: str
    """``input 0 (x)``: how errors call it."""


def described(tensor: object, index: int) -> Described:
    """Check an input's description.

    Args:
        tensor: the input as a mapping with ``name``, ``datatype`` and ``shape``.
        index: its place in the request.

    Raises:
        InvalidInput: one of them is missing or wrong.
        TooLarge: more dimensions or elements than allowed.
    """
    if not isinstance(tensor, Mapping):
        raise InvalidInput(f"input {index} must be an object, not {kind_of(tensor)}")
    name = tensor.get("name")
    if not isinstance(name, str) or not name:
        raise InvalidInput(f'input {index} has no "name"')
    where = f"input {index} ({name[:NAME_CHARS_TOLD_MAX]})"
    word = tensor.get("datatype")
    datatype = DATATYPES.get(word) if isinstance(word, str) else None
    if datatype is None:
        given = repr(word[:NAME_CHARS_TOLD_MAX]) if isinstance(word, str) else kind_of(word)
        raise InvalidInput(f"{where}: datatype {given} is not one of {', '.join(DATATYPES)}")
    shape = tensor.get("shape")
    count = _element_count(shape, where)
    assert isinstance(shape, list), "_element_count has looked"
    return Described(name, datatype, shape, count, where)


def refuse_inputs_over(count: int) -> None:
    """Refuse a request with too many inputs.

    Raises:
        TooLarge: it has more than INPUTS_MAX.
    """
    if count > INPUTS_MAX:
        raise TooLarge(f"the request has {count} inputs, at most {INPUTS_MAX} are allowed")


def wrong_count(tensor: Described, found: int, *, hint: str | None = None) -> InvalidInput:
    """Return the error of data that is not as long as its shape says."""
    return InvalidInput(f"{tensor.where}: its shape {tensor.shape} says {tensor.count} elements, its data has {found}", hint=hint)


def out_of_range(tensor: Described, low: int, high: int) -> InvalidInput:
    """Return the error of numbers that their datatype cannot hold."""
    bits = 8 * tensor.datatype.bytes_each
    least, most = (0, (1 << bits) - 1) if tensor.datatype.name.startswith("U") else (-(1 << (bits - 1)), (1 << (bits - 1)) - 1)
    return InvalidInput(f"{tensor.where}: its data runs from {low} to {high}, {tensor.datatype.name} from {least} to {most}")


def _element_count(shape: object, where: str) -> int:
    """Return how many elements a shape says there are; each step is checked, so no product overflows or takes long."""
    if not isinstance(shape, list) or not shape:
        raise InvalidInput(f'{where}: "shape" must be a list of integers, not {kind_of(shape) if shape != [] else "an empty one"}')
    if len(shape) > DIMENSIONS_MAX:
        raise TooLarge(f"{where}: {len(shape)} dimensions, at most {DIMENSIONS_MAX} are allowed")
    count = 1
    for size in shape:
        if type(size) is not int or size < 0:
            raise InvalidInput(f'{where}: "shape" must hold whole numbers from 0')
        count *= size
        if count > ELEMENTS_MAX:
            raise TooLarge(f"{where}: shape {shape} has more than {ELEMENTS_MAX} elements")
    return count
