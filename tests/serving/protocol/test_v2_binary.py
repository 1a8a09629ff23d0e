from __future__ import annotations

import contextlib
import json
import struct
from typing import Any

import numpy
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from flambeau.foundation.errors import InvalidInput, TooLarge
from flambeau.serving.model import Job, Method, Protocol
from flambeau.serving.protocol.form import Encoded, Rows, Wanted
from flambeau.serving.protocol.v2 import decode, encode

FLOATS = numpy.array([[1.5, -2.0], [0.0, 3.25]], dtype="<f4")


def job(document: Any, tail: bytes = b"", *, length: str | None = None) -> Job:
    text = json.dumps(document).encode()
    headers = (("Inference-Header-Content-Length", str(len(text)) if length is None else length),)
    return Job("our-id", Protocol.V2, Method.PREDICT, "application/octet-stream", headers, text + tail)


def tensor(size: int, shape: list[int], datatype: str = "FP32", name: str = "x", **fields: Any) -> dict[str, Any]:
    return {"name": name, "shape": shape, "datatype": datatype, "parameters": {"binary_data_size": size}, **fields}


def data_of(datatype: str, content: bytes, shape: list[int]) -> Any:
    [row] = decode(job({"inputs": [tensor(len(content), shape, datatype)]}, content)).rows
    assert isinstance(row, dict)
    return row["data"]


@pytest.mark.parametrize(
    ("datatype", "dtype"),
    [
        ("BOOL", "bool"),
        ("INT8", "int8"),
        ("INT16", "<i2"),
        ("INT32", "<i4"),
        ("INT64", "<i8"),
        ("UINT8", "uint8"),
        ("UINT16", "<u2"),
        ("UINT32", "<u4"),
        ("UINT64", "<u8"),
        ("FP16", "<f2"),
        ("FP32", "<f4"),
        ("FP64", "<f8"),
    ],
)
def test_every_datatype_comes_in_and_goes_out_as_its_bytes(datatype: str, dtype: str) -> None:
    array = numpy.array([[0, 1, 1], [1, 0, 1]], dtype=dtype)
    data = data_of(datatype, array.tobytes(), [2, 3])
    assert data.dtype == array.dtype
    assert data.tolist() == array.tolist()
    output, content = answer(data)
    assert (output["datatype"], output["shape"], content) == (datatype, [2, 3], array.tobytes())


def test_bf16_is_handed_on_as_float32_and_a_bfloat16_result_goes_out_as_bf16() -> None:
    numbers = torch.tensor([1.0, -2.5, 3.0e38], dtype=torch.bfloat16)
    content = numbers.view(torch.uint8).numpy().tobytes()
    data = data_of("BF16", content, [3])
    assert data.dtype == numpy.float32
    assert data.tolist() == numbers.float().tolist()
    assert answer(numbers) == ({"name": "x", "shape": [3], "datatype": "BF16", "parameters": {"binary_data_size": 6}}, content)


def test_bytes_have_their_lengths_before_them_both_ways() -> None:
    content = b"\x01\x00\x00\x00a\x00\x00\x00\x00\x02\x00\x00\x00\xff\x00"
    assert data_of("BYTES", content, [3]) == [b"a", b"", b"\xff\x00"]
    assert data_of("BYTES", content[:5], [1]) == b"a"
    assert answer(["a", "", "ä"])[1] == struct.pack("<I1sII2s", 1, b"a", 0, 2, "ä".encode())
    assert answer({"cat": 0.5})[1] == b'\x0b\x00\x00\x00{"cat":0.5}'


def test_binary_and_json_inputs_go_together() -> None:
    inputs = [tensor(16, [2, 2]), {"name": "y", "shape": [2], "datatype": "INT8", "data": [1, 2]}, tensor(1, [1], "BOOL", "z")]
    found = decode(job({"inputs": inputs}, FLOATS.tobytes() + b"\x01")).rows
    assert [numpy.asarray(row["data"]).tolist() for row in found if isinstance(row, dict)] == [FLOATS.tolist(), [1, 2], [True]]


def test_a_handler_does_not_see_how_a_tensor_travelled() -> None:
    sent = tensor(4, [1])
    for parameters, seen in (({}, {}), ({"content_type": "np"}, {"parameters": {"content_type": "np"}})):
        asked = {"inputs": [{**sent, "parameters": {**sent["parameters"], **parameters}}]}
        [row] = decode(job(asked, b"1234")).rows
        assert isinstance(row, dict)
        assert {name: value for name, value in row.items() if name != "data"} == {"name": "x", "shape": [1], "datatype": "FP32", **seen}


def test_what_a_handler_gets_is_writable_and_true_as_a_list_is() -> None:
    data = data_of("FP32", FLOATS.tobytes(), [2, 2])
    assert data or None is not None
    assert not data_of("FP32", b"", [0])
    data += 1
    assert data.tolist() == (FLOATS + 1).tolist()
    assert type(data + 1) is numpy.ndarray
    assert torch.as_tensor(data_of("FP32", FLOATS.tobytes(), [2, 2])).tolist() == FLOATS.tolist()


@pytest.mark.parametrize(
    ("request_", "what"),
    [
        (job({"inputs": [tensor(16, [2, 2])]}, FLOATS.tobytes(), length="x"), "Inference-Header-Content-Length is 'x'"),
        (job({"inputs": [tensor(16, [2, 2])]}, FLOATS.tobytes(), length="-1"), "Inference-Header-Content-Length is '-1'"),
        (job({"inputs": [tensor(16, [2, 2])]}, FLOATS.tobytes(), length="9" * 30), "Inference-Header-Content-Length"),
        (job({"inputs": [tensor(16, [2, 2])]}, FLOATS.tobytes(), length="1000"), "the body has .* bytes"),
        (job({"inputs": [tensor(16, [2, 2])]}, FLOATS.tobytes(), length="3"), "not JSON"),
        (job({"inputs": [tensor(16, [2, 2])]}, b"123"), r"input 0 \(x\): binary_data_size is 16, the body has 3 bytes left"),
        (job({"inputs": [tensor(12, [2, 2])]}, b"1" * 12), r"shape \[2, 2\] of FP32 takes 16 bytes, binary_data_size is 12"),
        (job({"inputs": [tensor(16, [2, 2])]}, b"1" * 17), "1 bytes follow the last tensor"),
        (job({"inputs": [tensor(-1, [2, 2])]}), "binary_data_size must be a whole number"),
        (job({"inputs": [tensor(4, [1], data=[1])]}, b"1234"), 'it has both "data" and binary_data_size'),
        (job({"inputs": [{**tensor(0, [1]), "parameters": {"binary_data_size": True}}]}), "binary_data_size must be a whole number"),
        (job({"inputs": [tensor(3, [1], "BYTES")]}, b"abc"), "its BYTES cannot be read: 3 bytes follow the last element"),
        (job({"inputs": [tensor(5, [1], "BYTES")]}, b"\xff\xff\xff\xffa"), "element 0 says 4294967295 bytes, 1 are left"),
        (job({"inputs": [tensor(8, [1], "BYTES")]}, bytes(8)), r"its shape \[1\] says 1 elements, its data has 2"),
        (job({"inputs": [tensor(4, [1], "FP128")]}, b"1234"), "datatype 'FP128' is not one of"),
        (job({"inputs": [tensor(4, [1])], "outputs": {"name": "y"}}, b"1234"), '"outputs" must be a list'),
        (job({"inputs": [tensor(4, [1])], "outputs": [{}]}, b"1234"), 'output 0 has no "name"'),
    ],
)
def test_what_does_not_fit_is_refused_with_where_and_why(request_: Job, what: str) -> None:
    with pytest.raises(InvalidInput, match=what):
        decode(request_)


def test_a_huge_shape_costs_nothing() -> None:
    with pytest.raises(TooLarge, match="more than"):
        decode(job({"inputs": [tensor(4, [1 << 62, 1 << 62, 0])]}, b"1234"))


@given(st.binary(max_size=200), st.integers(-2, 210))
def test_no_body_makes_anything_but_rows_or_a_refusal(body: bytes, length: int) -> None:
    headers = (("inference-header-content-length", str(length)),)
    with contextlib.suppress(InvalidInput):
        decode(Job("i", Protocol.V2, Method.PREDICT, "", headers, body))


@pytest.mark.parametrize(
    ("fields", "wanted"),
    [
        ({}, []),
        ({"parameters": {"binary_data_output": True}}, [(0, "x", True), (1, "y", True)]),
        ({"outputs": [{"name": "y"}]}, [(1, "y", False)]),
        ({"outputs": [{"name": "y", "parameters": {"binary_data": True}}, {"name": "x"}]}, [(1, "y", True), (0, "x", False)]),
        ({"outputs": [{"name": "a", "parameters": {"binary_data": True}}, {"name": "b"}]}, [(0, "a", True), (1, "b", False)]),
        (
            {"parameters": {"binary_data_output": True}, "outputs": [{"name": "x", "parameters": {"binary_data": False}}]},
            [(0, "x", False)],
        ),
        ({"outputs": [{"name": "a"}]}, [(0, "x", False), (1, "y", False)]),
    ],
)
def test_which_outputs_are_sent_and_how(fields: dict[str, Any], wanted: list[tuple[int, str, bool]]) -> None:
    inputs = [{"name": name, "shape": [1], "datatype": "INT8", "data": [1]} for name in ("x", "y")]
    assert decode(job({"inputs": inputs, **fields})).wanted == tuple(Wanted(*each) for each in wanted)


def test_an_answer_may_be_part_json_and_part_binary() -> None:
    rows = Rows([], echo_id="i", names=("x", "y"), wanted=(Wanted(1, "y", True), Wanted(0, "x")))
    encoded = encode([7, FLOATS], rows, model_name="m", model_version="2")
    document, tail = split(encoded)
    assert document["outputs"] == [
        {"name": "y", "shape": [2, 2], "datatype": "FP32", "parameters": {"binary_data_size": 16}},
        {"name": "x", "shape": [1], "datatype": "INT64", "data": [7]},
    ]
    assert tail == FLOATS.tobytes()


def test_results_in_any_memory_order_go_out_row_major_and_little_endian() -> None:
    assert answer(numpy.asfortranarray(FLOATS))[1] == FLOATS.tobytes()
    assert answer(FLOATS.astype(">f4"))[1] == FLOATS.tobytes()
    assert answer(FLOATS[:, :0])[0]["parameters"] == {"binary_data_size": 0}


def split(encoded: Encoded) -> tuple[dict[str, Any], bytes]:
    [(name, text)] = encoded.headers
    assert (name, encoded.content_type) == ("inference-header-content-length", "application/octet-stream")
    document: dict[str, Any] = json.loads(encoded.body[: int(text)])
    return document, encoded.body[int(text) :]


def answer(value: Any) -> tuple[dict[str, Any], bytes]:
    rows = Rows([], echo_id="i", names=("x",), wanted=(Wanted(0, "x", True),))
    document, tail = split(encode([value], rows, model_name="m", model_version="2"))
    [output] = document["outputs"]
    return output, tail
