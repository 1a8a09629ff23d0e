"""The Open Inference Protocol: tensors in, tensors out, as JSON or as JSON and the bytes behind it.

Each input tensor is a row, as TorchServe's kservev2 envelope hands it to a handler: the input's own dict, its data nested by its
shape; one BYTES element is a string, several are a list. Binary tensors are arrays and bytes objects. The n-th result answers under the
n-th input's name, or the name that the request's ``outputs`` have for it. A handler with ``takes_tensors``
gets the request whole instead, and names its outputs itself.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any

from flambeau.foundation.errors import Internal, InvalidInput, TooLarge
from flambeau.serving.model import Job, Tensors
from flambeau.serving.protocol import v2_binary
from flambeau.serving.protocol.form import Encoded, Rows, Wanted
from flambeau.serving.protocol.json_text import read_json, write_compact_json
from flambeau.serving.protocol.v1 import kind_of
from flambeau.serving.protocol.v2_tensor import DATATYPES, Described, described, out_of_range, refuse_inputs_over, wrong_count

_DATATYPE_OF = {datatype.dtype: name for name, datatype in DATATYPES.items() if name != "BF16"}
"""Numpy's name -> ours."""


def decode(job: Job) -> Rows:
    """Turn a request into one row for each input, whatever its content type says.

    Raises:
        InvalidInput: no JSON, or an input whose name, shape, datatype and data don't fit each other.
        TooLarge: more inputs, dimensions or elements than allowed.
    """
    return _decoded(job, whole=False)[0]


def decode_whole(job: Job) -> Rows:
    """Turn a request into one row: all its inputs as :class:`~flambeau.serving.model.Tensors`.

    Raises:
        InvalidInput, TooLarge: as ``decode`` does.
    """
    found, document = _decoded(job, whole=True)
    arrays = {str(row["name"]): _array_in(row) for row in found.rows if isinstance(row, dict)}
    parameters = document.get("parameters")
    tensors = Tensors(arrays, parameters if isinstance(parameters, dict) else None)
    binary = _flag(parameters, "binary_data_output") or False
    outputs = document.get("outputs") or []
    asked = {output["name"]: _flag(output.get("parameters"), "binary_data") for output in outputs}  # _wanted_of has looked at them
    wanted = tuple(Wanted(0, name, binary if own is None else own) for name, own in asked.items())
    return Rows([tensors], echo_id=found.echo_id, wanted=wanted or (() if not binary else (Wanted(0, "", True),)))


def _decoded(job: Job, *, whole: bool) -> tuple[Rows, dict[str, Any]]:
    text, raw = v2_binary.split_body(job)
    try:
        document = read_json(text)
    except TooLarge:
        raise
    except InvalidInput as error:
        binary = job.content_type.startswith(v2_binary.CONTENT_TYPE)
        raise InvalidInput(error.message, hint=v2_binary.HINT if binary else error.hint) from error
    if not isinstance(document, dict):
        raise InvalidInput(f'the body must be a JSON object with "inputs", not {kind_of(document)}')
    inputs = document.get("inputs")
    if not isinstance(inputs, list) or not inputs:
        raise InvalidInput('the body has no "inputs": a list of {"name", "shape", "datatype", "data"}')
    refuse_inputs_over(len(inputs))
    rows = [_row_of(tensor, index, raw, whole=whole) for index, tensor in enumerate(inputs)]
    raw.refuse_rest()
    given_id = document.get("id")
    if given_id is not None and not isinstance(given_id, str):
        raise InvalidInput(f'"id" must be a string, not {kind_of(given_id)}')
    names = tuple(str(row["name"]) for row in rows)
    found = Rows(list(rows), noun="input", echo_id=given_id or job.id, names=names, wanted=_wanted_of(document, names))
    return found, document


def encode(values: Sequence[object], rows: Rows, *, model_name: str, model_version: str) -> Encoded:
    """Turn the results of one request's rows into its answer.

    Raises:
        Internal: a result has no tensor form.
    """
    outputs: list[dict[str, object]] = []
    behind: list[Any] = []
    try:
        for wanted, value in _results_of(values, rows):
            if wanted.binary:
                output, content = _binary_output_of(value, wanted.name)
                behind.append(content)
            else:
                output = _output_of(value, wanted.name)
            outputs.append(output)
        document = {"id": rows.echo_id, "model_name": model_name, "model_version": model_version, "outputs": outputs}
        text = write_compact_json(document)
    except (TypeError, ValueError) as error:
        raise Internal(
            f"Unsupported model output data type. The handler's result has no tensor form: {error}",
            hint="return numbers, strings, arrays, tensors or regular lists of them",
        ) from error
    if not behind:
        return Encoded(text, "application/json")
    return Encoded(b"".join([text, *behind]), v2_binary.CONTENT_TYPE, ((v2_binary.HEADER_LENGTH, str(len(text))),))


def _results_of(values: Sequence[object], rows: Rows) -> list[tuple[Wanted, object]]:
    """Return what is sent: the results that were asked for, each with its value."""
    if not isinstance(values[0], Tensors):
        return [(wanted, values[wanted.row]) for wanted in rows.wanted or [Wanted(index, name) for index, name in enumerate(rows.names)]]
    named, binary = values[0], any(wanted.binary for wanted in rows.wanted)
    asked = [wanted for wanted in rows.wanted if wanted.name in named]
    # Names that mean nothing here: everything is sent, as where a handler does not name its outputs.
    return [(wanted, named[wanted.name]) for wanted in asked or [Wanted(0, name, binary) for name in named]]


def _array_in(row: dict[str, object]) -> Any:
    """Return a checked input's data as an array of its shape and datatype, or for BYTES as a list."""
    import numpy  # noqa: PLC0415 - 0.1 to 0.25 s that only V2 pays

    data, datatype = row["data"], DATATYPES[str(row["datatype"])]
    if datatype.name == "BYTES":
        return data if isinstance(data, list) else [data]
    return numpy.asarray(data, datatype.dtype).reshape(row["shape"])


def _row_of(tensor: Any, index: int, raw: v2_binary.RawTensors, *, whole: bool) -> dict[str, object]:
    """Return an input as the row that a handler gets, checked: numbers nested by their shape, or, of a whole request, an array of them."""
    said = described(tensor, index)
    size = v2_binary.size_of(tensor, said.where)
    if size is not None:
        return {**v2_binary.without_size(tensor), "data": raw.take(said, size)}
    data = tensor.get("data")
    if isinstance(data, str) and said.datatype.name == "BYTES":
        data = [data]  # the protocol says list; many a client sends the one string that it has
    if not isinstance(data, list):
        raise InvalidInput(f'{said.where}: "data" must be a list, not {kind_of(data)}')
    if said.datatype.name == "BYTES":
        return {**tensor, "data": _strings_of(data, said)}
    array = _array_of_numbers(data, said)
    return {**tensor, "data": array if whole else _nested(data, array, said)}


def _wanted_of(document: dict[str, Any], names: tuple[str, ...]) -> tuple[Wanted, ...]:
    """Return which results are sent, under which names, and whether in binary; empty: all of them as JSON, under the inputs' names.

    Outputs that are called as inputs are chosen by name, as many others as there are inputs in order; where neither fits, the names mean
    nothing here and every result is sent, as TorchServe does it.
    """
    by_default = _flag(document.get("parameters"), "binary_data_output") or False
    outputs = document.get("outputs")
    if not outputs:
        return tuple(Wanted(index, name, True) for index, name in enumerate(names)) if by_default else ()
    if not isinstance(outputs, list):
        raise InvalidInput(f'"outputs" must be a list, not {kind_of(outputs)}')
    asked: dict[str, bool] = {}
    for index, output in enumerate(outputs):
        name = output.get("name") if isinstance(output, dict) else None
        if not isinstance(name, str) or not name:
            raise InvalidInput(f'output {index} has no "name"')
        own = _flag(output.get("parameters"), "binary_data")
        asked[name] = by_default if own is None else own
    if asked.keys() <= set(names):
        return tuple(Wanted(names.index(name), name, binary) for name, binary in asked.items())
    if len(asked) == len(names):
        return tuple(Wanted(index, name, binary) for index, (name, binary) in enumerate(asked.items()))
    return tuple(Wanted(index, name, any(asked.values())) for index, name in enumerate(names))


def _flag(parameters: object, name: str) -> bool | None:
    value = parameters.get(name) if isinstance(parameters, dict) else None
    return value if isinstance(value, bool) else None


def _strings_of(data: list[Any], said: Described) -> str | list[str]:
    flat = _flattened(data)
    if len(flat) != said.count:
        raise wrong_count(said, len(flat))
    for element in flat:
        if not isinstance(element, str):
            raise InvalidInput(f"{said.where}: BYTES elements must be strings, not {kind_of(element)}")
    return flat[0] if said.count == 1 else flat


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


def _array_of_numbers(data: list[Any], said: Described) -> Any:
    """Return numbers as an array, nested or flat as they came, each one of the datatype's kind and range."""
    import numpy  # noqa: PLC0415 - 0.1 to 0.25 s that only V2 pays

    kinds = said.datatype.kinds
    try:
        array = numpy.asarray(data)
    except (ValueError, OverflowError) as error:
        raise InvalidInput(f"{said.where}: its nested data is not regular: {error}") from error
    if array.size != said.count:
        raise wrong_count(said, array.size)
    if array.ndim > 1 and list(array.shape) != said.shape:
        raise InvalidInput(f"{said.where}: its data is nested as {list(array.shape)}, its shape says {said.shape}")
    if array.size and array.dtype.kind not in kinds:
        raise InvalidInput(f"{said.where}: its data holds something that is not {said.datatype.name}")
    if array.size and kinds == "iu":
        limits = numpy.iinfo(said.datatype.dtype)
        low, high = int(array.min()), int(array.max())
        if low < limits.min or high > limits.max:
            raise out_of_range(said, low, high)
    return array


def _nested(data: list[Any], array: Any, said: Described) -> list[Any]:
    """Return checked numbers as lists nested by their shape: the client's own objects, as 150,000 new ones would cost 2 ms."""
    if array.ndim > 1 or len(said.shape) == 1:
        return data
    if not said.count:
        nested: list[Any] = array.reshape(said.shape).tolist()
        return nested
    for size in reversed(said.shape[1:]):
        data = [data[start : start + size] for start in range(0, len(data), size)]
    return data


def _output_of(value: Any, name: str) -> dict[str, object]:
    """Return a result as an output tensor with its true shape."""
    found = _array_of(value)
    if found is None:
        elements = _elements_of(value)
        return {"name": name, "shape": [len(elements)], "datatype": "BYTES", "data": [_text_of(element) for element in elements]}
    array, datatype = found
    return {
        "name": name,
        "shape": list(array.shape) or [1],
        "datatype": "FP32" if datatype == "BF16" else datatype,
        "data": array.reshape(-1),
    }


def _binary_output_of(value: Any, name: str) -> tuple[dict[str, object], Any]:
    """Return a result as an output tensor, and the bytes that go behind the JSON."""
    found = _array_of(value)
    if found is None:
        elements = _elements_of(value)
        content: Any = v2_binary.packed_strings([_bytes_of(element) for element in elements])
        shape, datatype = [len(elements)], "BYTES"
    else:
        array, datatype = found
        shape = list(array.shape) or [1]
        if datatype == "BF16":
            content = v2_binary.bfloat16_bytes(array)
        else:
            little = array.astype(array.dtype.newbyteorder("<"), copy=False)
            content = memoryview(little.reshape(-1)).cast("B") if little.size else b""
    size = len(content)
    return {"name": name, "shape": shape, "datatype": datatype, "parameters": {"binary_data_size": size}}, content


def _elements_of(value: Any) -> list[Any]:
    """Return the elements of a result that is no numbers: text, bytes or objects such as one dict a class."""
    return list(value) if isinstance(value, list | tuple) else [value]


def _array_of(value: Any) -> tuple[Any, str] | None:
    """Return a numeric result as a contiguous array, and its datatype; None where it is no numbers."""
    if isinstance(value, str | bytes | bytearray | dict) or value is None:
        return None
    import numpy  # noqa: PLC0415 - as above

    if hasattr(value, "detach"):  # a torch tensor; bfloat16 has no numpy form
        tensor = value.detach().cpu()
        if "bfloat16" in str(tensor.dtype):
            return numpy.ascontiguousarray(tensor.float().numpy()), "BF16"
        value = tensor.numpy()
        if value.dtype.name not in _DATATYPE_OF:
            raise TypeError(f"numbers of {value.dtype} have no datatype")
    try:
        array = numpy.asarray(value)
    except ValueError:  # lists of unequal lengths
        return None
    if array.dtype.name not in _DATATYPE_OF:
        return None
    return numpy.ascontiguousarray(array).reshape(array.shape), _DATATYPE_OF[array.dtype.name]


def _bytes_of(value: Any) -> bytes:
    """Return one BYTES element as it is; what is neither text nor bytes is its JSON text."""
    if isinstance(value, bytes | bytearray):
        return bytes(value)
    return value.encode() if isinstance(value, str) else write_compact_json(value)


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
