"""The Open Inference Protocol as JSON: tensors in, tensors out.

Each input tensor is a row, as TorchServe's kservev2 envelope hands it to a handler: the input's own dict, its data nested by its
shape; one BYTES element is a string, several are a list. The n-th result answers under the n-th input's name.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any

from flambeau.foundation.errors import Internal, InvalidInput, TooLarge
from flambeau.serving.model import Job
from flambeau.serving.protocol.form import Encoded, Rows
from flambeau.serving.protocol.json_text import read_json, write_compact_json
from flambeau.serving.protocol.v1 import kind_of

ELEMENTS_MAX = 1 << 28
"""Elements of one tensor; a shape that says more is refused before anything is allocated for it."""
DIMENSIONS_MAX = 32
"""Dimensions of one tensor; numpy's own bound before version 2."""
INPUTS_MAX = 1024
"""Input tensors of one request."""
NAME_CHARS_TOLD_MAX = 64
"""Of a client's own words in an error text."""

# Datatype -> numpy's dtype and the kinds that JSON data may have: i, u integers, f floats, b booleans.
_DTYPES = {
    "BOOL": ("bool", "b"),
    "INT8": ("int8", "iu"),
    "INT16": ("int16", "iu"),
    "INT32": ("int32", "iu"),
    "INT64": ("int64", "iu"),
    "UINT8": ("uint8", "iu"),
    "UINT16": ("uint16", "iu"),
    "UINT32": ("uint32", "iu"),
    "UINT64": ("uint64", "iu"),
    "FP16": ("float16", "iuf"),
    "FP32": ("float32", "iuf"),
    "FP64": ("float64", "iuf"),
}
_DATATYPES = {dtype: datatype for datatype, (dtype, _) in _DTYPES.items()}


def decode(job: Job) -> Rows:
    """Turn a request into one row for each input, whatever its content type says.

    Raises:
        InvalidInput: no JSON, or an input whose name, shape, datatype and data don't fit each other.
        TooLarge: more inputs, dimensions or elements than allowed.
    """
    document = read_json(job.body)
    if not isinstance(document, dict):
        raise InvalidInput(f'the body must be a JSON object with "inputs", not {kind_of(document)}')
    inputs = document.get("inputs")
    if not isinstance(inputs, list) or not inputs:
        raise InvalidInput('the body has no "inputs": a list of {"name", "shape", "datatype", "data"}')
    if len(inputs) > INPUTS_MAX:
        raise TooLarge(f"the request has {len(inputs)} inputs, at most {INPUTS_MAX} are allowed")
    rows = [_row_of(tensor, index) for index, tensor in enumerate(inputs)]
    given_id = document.get("id")
    if given_id is not None and not isinstance(given_id, str):
        raise InvalidInput(f'"id" must be a string, not {kind_of(given_id)}')
    names = tuple(str(row["name"]) for row in rows)
    return Rows(list(rows), noun="input", echo_id=given_id or job.id, names=names)


def encode(values: Sequence[object], rows: Rows, *, model_name: str, model_version: str) -> Encoded:
    """Turn the results of one request's rows into its answer.

    Raises:
        Internal: a result has no tensor form.
    """
    try:
        outputs = [_output_of(value, name) for value, name in zip(values, rows.names, strict=True)]
        document = {"id": rows.echo_id, "model_name": model_name, "model_version": model_version, "outputs": outputs}
        return Encoded(write_compact_json(document), "application/json")
    except (TypeError, ValueError) as error:
        raise Internal(
            f"Unsupported model output data type. The handler's result has no tensor form: {error}",
            hint="return numbers, strings, arrays, tensors or regular lists of them",
        ) from error


def _row_of(tensor: object, index: int) -> dict[str, object]:
    """Return an input as the row that a handler gets: checked, its data nested by its shape."""
    if not isinstance(tensor, dict):
        raise InvalidInput(f"input {index} must be an object, not {kind_of(tensor)}")
    name = tensor.get("name")
    if not isinstance(name, str) or not name:
        raise InvalidInput(f'input {index} has no "name"')
    where = f"input {index} ({name[:NAME_CHARS_TOLD_MAX]})"
    datatype = tensor.get("datatype")
    if not isinstance(datatype, str) or (datatype != "BYTES" and datatype not in _DTYPES):
        given = repr(datatype[:NAME_CHARS_TOLD_MAX]) if isinstance(datatype, str) else kind_of(datatype)
        raise InvalidInput(f"{where}: datatype {given} is not one of {', '.join([*_DTYPES, 'BYTES'])}")
    shape = tensor.get("shape")
    count = _element_count(shape, where)
    data = tensor.get("data")
    if not isinstance(data, list):
        raise InvalidInput(f'{where}: "data" must be a list, not {kind_of(data)}')
    nested = _strings_of(data, count, where) if datatype == "BYTES" else _numbers_of(data, shape, datatype, where)
    return {**tensor, "data": nested}


def _element_count(shape: object, where: str) -> int:
    """Return how many elements a shape says there are."""
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


def _strings_of(data: list[Any], count: int, where: str) -> str | list[str]:
    flat = _flattened(data)
    if len(flat) != count:
        raise InvalidInput(f"{where}: its shape says {count} elements, its data has {len(flat)}")
    for element in flat:
        if not isinstance(element, str):
            raise InvalidInput(f"{where}: BYTES elements must be strings, not {kind_of(element)}")
    return flat[0] if count == 1 else flat


def _flattened(data: list[Any]) -> list[Any]:
    """Return the leaves of nested lists, in order, without recursion."""
    flat: list[Any] = []
    stack = [iter(data)]
    while stack:
        for element in stack[-1]:
            if isinstance(element, list):
                stack.append(iter(element))
                break
            flat.append(element)
        else:
            stack.pop()
    return flat


def _numbers_of(data: list[Any], shape: Any, datatype: str, where: str) -> Any:
    """Return numbers nested by their shape, each one of the datatype's kind and range."""
    import numpy  # noqa: PLC0415 - 0.1 to 0.25 s that only V2 pays

    dtype, kinds = _DTYPES[datatype]
    try:
        array = numpy.asarray(data)
    except (ValueError, OverflowError) as error:
        raise InvalidInput(f"{where}: its nested data is not regular: {error}") from error
    if array.size != (expected := _product(shape)):
        raise InvalidInput(f"{where}: its shape {shape} says {expected} elements, its data has {array.size}")
    if array.ndim > 1 and list(array.shape) != shape:
        raise InvalidInput(f"{where}: its data is nested as {list(array.shape)}, its shape says {shape}")
    if array.size and array.dtype.kind not in kinds:
        raise InvalidInput(f"{where}: its data holds something that is not {datatype}")
    if array.size and kinds == "iu":
        limits = numpy.iinfo(dtype)
        low, high = int(array.min()), int(array.max())
        if low < limits.min or high > limits.max:
            raise InvalidInput(f"{where}: its data runs from {low} to {high}, {datatype} from {limits.min} to {limits.max}")
    if array.ndim > 1 or len(shape) == 1:
        return data
    return array.reshape(shape).tolist()


def _product(shape: list[int]) -> int:
    count = 1
    for size in shape:
        count *= size
    return count


def _output_of(value: Any, name: str) -> dict[str, object]:
    """Return a result as an output tensor with its true shape."""
    import numpy  # noqa: PLC0415 - as above

    if isinstance(value, str | bytes | bytearray | dict) or value is None:
        return {"name": name, "shape": [1], "datatype": "BYTES", "data": [_text_of(value)]}
    if hasattr(value, "detach"):  # a torch tensor; bfloat16 has no numpy form
        value = value.detach().cpu()
        value = value.float().numpy() if "bfloat16" in str(value.dtype) else value.numpy()
    try:
        array = numpy.asarray(value)
    except ValueError:  # lists of unequal lengths
        array = numpy.asarray(None)
    datatype = _DATATYPES.get(array.dtype.name)
    if datatype is None:
        # Strings, or objects such as one dict a class: each is an element of its own.
        elements = list(value) if isinstance(value, list | tuple) else [value]
        return {"name": name, "shape": [len(elements)], "datatype": "BYTES", "data": [_text_of(element) for element in elements]}
    shape = list(array.shape) or [1]
    return {"name": name, "shape": shape, "datatype": datatype, "data": numpy.ascontiguousarray(array).reshape(-1)}


def _text_of(value: Any) -> str:
    """Return one BYTES element as JSON can carry it: text as it is, other bytes in base64, anything else as JSON text."""
    if isinstance(value, str):
        return value
    if isinstance(value, bytes | bytearray):
        try:
            return bytes(value).decode()
        except UnicodeDecodeError:
            return base64.b64encode(value).decode()
    return write_compact_json(value).decode()
