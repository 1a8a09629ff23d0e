"""Floats in typed contents; what else a call may be is told through the door (frontends/test_grpc_open_inference.py)."""

from __future__ import annotations

import math
import struct
from typing import Any

import orjson
import pytest

from flambeau.serving.frontends.grpc_messages import message
from flambeau.serving.protocol.v2_grpc import binary_form, fill_response

FLOATS = {"FP32": ("fp32_contents", "f"), "FP64": ("fp64_contents", "d")}
VALUES = [0.0, -0.0, math.inf, -math.inf, math.nan, 5e-324, 1.5]


def _request(datatype: str, values: list[float], **more: list[Any]) -> Any:
    tensor = {"name": "x", "datatype": datatype, "shape": [len(values)], "contents": {FLOATS[datatype][0]: values, **more}}
    return message("inference.ModelInferRequest")(model_name="m", inputs=[tensor])


@pytest.mark.parametrize("datatype", FLOATS)
@pytest.mark.parametrize("values", [VALUES, []])
@pytest.mark.parametrize("more", [{}, {"bool_contents": [True], "bytes_contents": [b"beside"]}])
def test_floats_go_in_as_their_bytes(datatype: str, values: list[float], more: dict[str, Any]) -> None:
    body, json_bytes = binary_form(_request(datatype, values, **more), [])
    assert body[json_bytes:] == struct.pack(f"<{len(values)}{FLOATS[datatype][1]}", *values)


def test_fields_that_nobody_knows_do_not_hide_them() -> None:
    request = _request("FP32", [1.5, 2.5])
    request.inputs[0].contents.MergeFromString(b"\xf8\x01\x00" * 300)
    body, json_bytes = binary_form(request, [])
    assert struct.unpack("<2f", body[json_bytes:]) == (1.5, 2.5)


@pytest.mark.parametrize("datatype", FLOATS)
@pytest.mark.parametrize("values", [VALUES, []])
def test_floats_come_out_as_their_bytes(datatype: str, values: list[float]) -> None:
    kind, code = FLOATS[datatype]
    content = struct.pack(f"<{len(values)}{code}", *values)
    output = {"name": "y", "datatype": datatype, "shape": [len(values)], "parameters": {"binary_data_size": len(content)}}
    text = orjson.dumps({"model_name": "m", "model_version": "1", "id": "", "outputs": [output]})
    response = message("inference.ModelInferResponse")()
    assert fill_response(response, text + content, len(text), raw=False) == []
    assert struct.pack(f"<{len(values)}{code}", *getattr(response.outputs[0].contents, kind)) == content
