from __future__ import annotations

import json
from typing import Any

import numpy
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from flambeau.foundation.errors import Internal, InvalidInput, TooLarge
from flambeau.serving.model import Job, Method, Protocol, Tensors
from flambeau.serving.protocol.form import Rows
from flambeau.serving.protocol.v2 import decode, decode_whole, encode
from flambeau.serving.protocol.v2_tensor import DIMENSIONS_MAX, ELEMENTS_MAX, INPUTS_MAX


def rows(*inputs: Any, **fields: Any) -> Rows:
    body = json.dumps({"inputs": list(inputs), **fields}).encode()
    return decode(Job("our-id", Protocol.V2, Method.PREDICT, "", (), body))


def tensor(data: Any, shape: Any, datatype: Any = "FP32", name: Any = "x") -> dict[str, Any]:
    return {"name": name, "shape": shape, "datatype": datatype, "data": data}


def answer(*values: Any, names: tuple[str, ...] = ("x",)) -> list[dict[str, Any]]:
    document = json.loads(encode(values, Rows([], echo_id="i", names=names), model_name="m", model_version="2").body)
    assert list(document) == ["id", "model_name", "model_version", "outputs"]
    assert (document["id"], document["model_name"], document["model_version"]) == ("i", "m", "2")
    outputs: list[dict[str, Any]] = document["outputs"]
    return outputs


def test_each_input_is_a_row_nested_by_its_shape() -> None:
    found = rows(tensor([1, 2, 3, 4, 5, 6], [2, 3]), tensor([[1.5], [2.5]], [2, 1], name="y"), tensor([True], [1], "BOOL", "z"))
    assert [row["data"] for row in found.rows if isinstance(row, dict)] == [[[1, 2, 3], [4, 5, 6]], [[1.5], [2.5]], [True]]
    assert found.names == ("x", "y", "z")
    assert found.rows[0] == {"name": "x", "shape": [2, 3], "datatype": "FP32", "data": [[1, 2, 3], [4, 5, 6]]}


def test_one_bytes_element_is_a_string_and_several_are_a_list() -> None:
    found = rows(tensor(["a"], [1], "BYTES"), tensor(["a", "b"], [2], "BYTES"), tensor([["a"], ["b"]], [2, 1], "BYTES"))
    assert [row["data"] for row in found.rows if isinstance(row, dict)] == ["a", ["a", "b"], ["a", "b"]]


def test_a_bare_string_is_a_list_of_one() -> None:
    [row] = rows(tensor("a", [1], "BYTES")).rows
    assert isinstance(row, dict)
    assert row["data"] == "a"
    with pytest.raises(InvalidInput, match="must be a list, not a string"):
        rows(tensor("1", [1], "FP32"))


def test_the_clients_id_comes_back_or_ours() -> None:
    assert rows(tensor([1], [1]), id="theirs").echo_id == "theirs"
    assert rows(tensor([1], [1])).echo_id == "our-id"


@pytest.mark.parametrize(
    ("inputs", "what"),
    [
        ((), 'no "inputs"'),
        ((1,), "input 0 must be an object, not a number"),
        (({"shape": [1]},), 'input 0 has no "name"'),
        ((tensor([1], [1], "FLOAT"),), r"input 0 \(x\): datatype 'FLOAT' is not one of BOOL, INT8"),
        ((tensor([1], [1], ["FP32"]),), "datatype"),
        ((tensor([1], None),), '"shape" must be a list of integers, not null'),
        ((tensor([1], []),), '"shape" must be a list of integers, not an empty one'),
        ((tensor([1], [-1]),), "must hold whole numbers from 0"),
        ((tensor([1], [1.0]),), "must hold whole numbers from 0"),
        ((tensor([1], [True]),), "must hold whole numbers from 0"),
        ((tensor([1, 2, 3], [2, 2]),), "says 4 elements, its data has 3"),
        ((tensor([[1, 2], [3, 4]], [4, 1]),), r"nested as \[2, 2\], its shape says \[4, 1\]"),
        ((tensor([[1, 2], [3]], [3]),), "not regular"),
        ((tensor("text", [1]),), '"data" must be a list, not a string'),
        ((tensor(["a"], [1]),), "holds something that is not FP32"),
        ((tensor([None], [1]),), "holds something that is not FP32"),
        ((tensor([1.5], [1], "INT32"),), "holds something that is not INT32"),
        ((tensor([2], [1], "BOOL"),), "holds something that is not BOOL"),
        ((tensor([300], [1], "UINT8"),), "runs from 300 to 300, UINT8 from 0 to 255"),
        ((tensor([-1], [1], "UINT64"),), "runs from -1 to -1"),
        ((tensor([1], [1], "BYTES"),), "BYTES elements must be strings, not a number"),
        ((tensor(["a"], [2], "BYTES"),), "says 2 elements, its data has 1"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(inputs: tuple[Any, ...], what: str) -> None:
    with pytest.raises(InvalidInput, match=what):
        rows(*inputs)


def test_bounds_are_checked_before_any_work() -> None:
    with pytest.raises(TooLarge, match="more than 268435456 elements"):
        rows(tensor([1], [2**62, 2**62, 2**62]))
    with pytest.raises(TooLarge, match="elements"):
        rows(tensor([1], [ELEMENTS_MAX + 1]))
    with pytest.raises(TooLarge, match="33 dimensions"):
        rows(tensor([1], [1] * (DIMENSIONS_MAX + 1)))
    with pytest.raises(TooLarge, match="1025 inputs"):
        rows(*[tensor([1], [1])] * (INPUTS_MAX + 1))


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"inputs": 1}', b'{"inputs": [{"name": "x"}], "id": 5}'])
def test_no_request_at_all(body: bytes) -> None:
    with pytest.raises(InvalidInput):
        decode(Job("id", Protocol.V2, Method.PREDICT, "", (), body))


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (7, {"shape": [1], "datatype": "INT64", "data": [7]}),
        (True, {"shape": [1], "datatype": "BOOL", "data": [True]}),
        ([0.5, 1.5], {"shape": [2], "datatype": "FP64", "data": [0.5, 1.5]}),
        ([[1, 2], [3, 4]], {"shape": [2, 2], "datatype": "INT64", "data": [1, 2, 3, 4]}),
        (numpy.ones((1, 2), dtype="float32"), {"shape": [1, 2], "datatype": "FP32", "data": [1.0, 1.0]}),
        (torch.ones(2, dtype=torch.uint8), {"shape": [2], "datatype": "UINT8", "data": [1, 1]}),
        (torch.ones(1, dtype=torch.bfloat16), {"shape": [1], "datatype": "FP32", "data": [1.0]}),
        (numpy.ones(2, dtype="float16"), {"shape": [2], "datatype": "FP16", "data": [1.0, 1.0]}),
        ("text", {"shape": [1], "datatype": "BYTES", "data": ["text"]}),
        (b"\xff", {"shape": [1], "datatype": "BYTES", "data": ["/w=="]}),
        ({"cat": 0.5}, {"shape": [1], "datatype": "BYTES", "data": ['{"cat":0.5}']}),
        (["a", "b"], {"shape": [2], "datatype": "BYTES", "data": ["a", "b"]}),
        ([{"a": 1}, {"b": 2}], {"shape": [2], "datatype": "BYTES", "data": ['{"a":1}', '{"b":2}']}),
        ([[1], [2, 3]], {"shape": [2], "datatype": "BYTES", "data": ["[1]", "[2,3]"]}),
        ([], {"shape": [0], "datatype": "FP64", "data": []}),
        (None, {"shape": [1], "datatype": "BYTES", "data": ["null"]}),
    ],
)
def test_results_have_their_true_shape_and_datatype(value: Any, expected: dict[str, Any]) -> None:
    assert answer(value) == [{"name": "x", **expected}]


def test_the_nth_result_has_the_nth_inputs_name() -> None:
    assert [output["name"] for output in answer(1, 2, names=("b", "a"))] == ["b", "a"]
    with pytest.raises(Internal, match="no tensor form"):
        encode([object()], Rows([], names=("x",)), model_name="m", model_version="1")


@given(st.lists(st.integers(0, 4), min_size=1, max_size=4), st.randoms(use_true_random=False))
def test_flat_and_nested_data_mean_the_same(shape: list[int], random: Any) -> None:
    array = numpy.array([random.randint(-9, 9) for _ in range(int(numpy.prod(shape)))]).reshape(shape)
    flat = rows(tensor(array.reshape(-1).tolist(), shape, "INT8"))
    assert isinstance(flat.rows[0], dict)
    assert flat.rows[0]["data"] == array.tolist()
    if array.size:
        assert rows(tensor(array.tolist(), shape, "INT8")).rows == flat.rows


def whole(*inputs: Any, **fields: Any) -> Rows:
    body = json.dumps({"inputs": list(inputs), **fields}).encode()
    return decode_whole(Job("our-id", Protocol.V2, Method.PREDICT, "", (), body))


def outputs(value: Tensors, rows: Rows) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(encode([value], rows, model_name="m", model_version="2").body)["outputs"]
    return found


def test_a_handler_that_takes_tensors_gets_the_request_whole() -> None:
    found = whole(
        tensor([1, 2, 3, 4], [2, 2], "INT32", "a"),
        tensor(["x", "y"], [2], "BYTES", "b"),
        tensor(["z"], [1], "BYTES", "c"),
        parameters={"content_type": "pd"},
    )
    [row] = found.rows
    assert isinstance(row, Tensors)
    assert (row["a"].tolist(), row["a"].dtype, row["b"], row["c"]) == ([[1, 2], [3, 4]], numpy.int32, ["x", "y"], ["z"])
    assert row.parameters == {"content_type": "pd"}


def test_such_a_handler_names_its_outputs() -> None:
    value = Tensors({"label": numpy.array([1]), "score": numpy.array([[0.5]], "float32"), "text": ["a"]})
    everything = outputs(value, whole(tensor([1], [1])))
    assert [(each["name"], each["datatype"], each["shape"]) for each in everything] == [
        ("label", "INT64", [1]),
        ("score", "FP32", [1, 1]),
        ("text", "BYTES", [1]),
    ]
    assert [each["name"] for each in outputs(value, whole(tensor([1], [1]), outputs=[{"name": "score"}]))] == ["score"]
    assert len(outputs(value, whole(tensor([1], [1]), outputs=[{"name": "unknown"}]))) == 3


@pytest.mark.parametrize(
    "asked", [{"parameters": {"binary_data_output": True}}, {"outputs": [{"name": "o", "parameters": {"binary_data": True}}]}]
)
def test_its_outputs_go_out_in_binary_where_asked(asked: dict[str, Any]) -> None:
    encoded = encode([Tensors({"o": numpy.array([1, 2], "int32")})], whole(tensor([1], [1]), **asked), model_name="m", model_version="1")
    assert encoded.body.endswith(b"\x01\x00\x00\x00\x02\x00\x00\x00")
