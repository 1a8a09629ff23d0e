"""A ModelInferRequest as V2's binary form and back: the worker sees what the REST door would have sent it.

The front calls it; it moves bytes and needs neither numpy nor the classes of the messages. FP16 and BF16 have no typed contents and
travel raw only. Pure.
"""

from __future__ import annotations

import array
from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from flambeau.foundation.errors import Internal, InvalidInput
from flambeau.foundation.protobuf_wire import head_of
from flambeau.serving.protocol.protobuf_wire import taken_out
from flambeau.serving.protocol.v2_binary import packed_strings, unpacked_strings
from flambeau.serving.protocol.v2_tensor import DATATYPES, Datatype, Described, described, out_of_range, refuse_inputs_over, wrong_count

_FLOATS = ("f", "d")
"""Numbers that protobuf writes as their bytes; 150,000 taken one by one hold the front for 5 ms, and put in for 2."""


def binary_form(request: Any, raw: Sequence[bytes | memoryview]) -> tuple[bytes, int]:
    """Return a request's body in binary form, and the length of the JSON before the tensors.

    Args:
        request: a ModelInferRequest, but for its raw_input_contents.
        raw: those.

    Raises:
        InvalidInput: an input's name, datatype, shape and contents don't fit each other.
        TooLarge: more inputs, dimensions or elements than allowed.
    """
    if raw and len(raw) != len(request.inputs):
        raise InvalidInput(f"the request has {len(request.inputs)} inputs, raw_input_contents has {len(raw)} elements")
    refuse_inputs_over(len(request.inputs))
    inputs: list[dict[str, object]] = []
    contents: list[bytes | memoryview] = []
    for index, tensor in enumerate(request.inputs):
        head, content = _input_of(tensor, index, raw[index] if raw else None)
        inputs.append(head)
        contents.append(content)
    outputs = [{"name": output.name, "parameters": {**_plain(output.parameters), "binary_data": True}} for output in request.outputs]
    document: dict[str, object] = {"inputs": inputs, "parameters": {**_plain(request.parameters), "binary_data_output": True}}
    if request.id:
        document["id"] = request.id
    if outputs:
        document["outputs"] = outputs
    text = orjson.dumps(document)
    return b"".join([text, *contents]), len(text)


def fill_response(response: Any, body: bytes, json_bytes: int, *, raw: bool) -> list[memoryview]:
    """Put a worker's answer into a ModelInferResponse, but for what is to be its raw_output_contents.

    Args:
        response: an empty one.
        body: V2's binary form.
        json_bytes: where its JSON ends.
        raw: the request was raw, so the answer is.

    Returns:
        The raw_output_contents, parts of the body.

    Raises:
        Internal: it is not of that form (a handler set a body of its own).
    """
    try:
        document = orjson.loads(memoryview(body)[:json_bytes])
        outputs = document["outputs"]
        raw = raw or any(not DATATYPES[output["datatype"]].contents for output in outputs)
        response.model_name, response.model_version, response.id = document["model_name"], document["model_version"], document["id"]
        rest = memoryview(body)[json_bytes:]
        contents = []
        for output in outputs:
            size = output["parameters"]["binary_data_size"]
            own, rest = rest[:size], rest[size:]
            tensor = response.outputs.add(name=output["name"], datatype=output["datatype"], shape=output["shape"])
            if raw:
                contents.append(own)
            else:
                _fill(tensor.contents, DATATYPES[output["datatype"]], own)
        return contents
    except (KeyError, TypeError, ValueError) as error:
        raise Internal(f"the model's answer is not of V2's form: {type(error).__name__}: {error}") from error


def _input_of(tensor: Any, index: int, raw: bytes | memoryview | None) -> tuple[dict[str, object], bytes | memoryview]:
    """Return an input's description for the JSON, and its bytes."""
    head: dict[str, object] = {"name": tensor.name, "datatype": tensor.datatype, "shape": list(tensor.shape)}
    if raw is None:
        raw = _packed(tensor.contents, described(head, index))
    elif tensor.HasField("contents") and tensor.contents.ByteSize():
        raise InvalidInput(f"{described(head, index).where}: it has contents, and raw_input_contents has its bytes besides")
    head["parameters"] = {**_plain(tensor.parameters), "binary_data_size": len(raw)}
    return head, raw


def _packed(contents: Any, said: Described) -> bytes | memoryview:
    """Return typed contents as bytes."""
    datatype = said.datatype
    if not datatype.contents:
        raise InvalidInput(f"{said.where}: {datatype.name} has no typed contents", hint="send it in raw_input_contents")
    values = getattr(contents, datatype.contents)
    if len(values) != said.count:
        raise wrong_count(said, len(values), hint=f"elements of {datatype.name} belong into {datatype.contents}")
    if not datatype.code:
        return packed_strings(values)
    if datatype.code in _FLOATS:
        found = taken_out(contents.SerializeToString(), _number_of(contents, datatype))
        if found is not None and found[1]:
            return found[1][0]
    try:
        return array.array(datatype.code, values).tobytes()
    except OverflowError as error:
        raise out_of_range(said, min(values), max(values)) from error


def _fill(contents: Any, datatype: Datatype, content: memoryview) -> None:
    """Put an output's bytes into its typed contents."""
    values = getattr(contents, datatype.contents)
    if not datatype.code:
        values.extend(unpacked_strings(content))
        return
    if datatype.code in _FLOATS:
        contents.MergeFromString(b"".join((head_of(_number_of(contents, datatype), len(content)), content)))
        return
    numbers = array.array(datatype.code, bytes(content))
    values.extend(map(bool, numbers) if datatype.name == "BOOL" else numbers)


def _number_of(contents: Any, datatype: Datatype) -> int:
    return int(contents.DESCRIPTOR.fields_by_name[datatype.contents].number)


def _plain(parameters: Mapping[str, Any]) -> dict[str, object]:
    """Return a map of InferParameter as JSON has it; one without a value is left out."""
    plain: dict[str, object] = {}
    for name, parameter in parameters.items():
        field = parameter.WhichOneof("parameter_choice")
        if field is not None:
            plain[name] = getattr(parameter, field)
    return plain
