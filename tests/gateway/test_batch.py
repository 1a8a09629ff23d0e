"""Requests that are put together, and answers that are shared out: the pure part."""

from __future__ import annotations

import json
from typing import Any

import pytest

from flambeau.gateway.batch import Part, merged, part_of, split

V1 = b"/v1/models/m:predict"
V2 = b"/v2/models/m/infer"


DEEP = b'{"predictions": [1, %s]}' % (b"[" * 500 + b"]" * 500)
"""JSON that can be read, but not written again."""


def part(body: Any, path: bytes = V1, headers: tuple[tuple[bytes, bytes], ...] = ()) -> Part:
    found = part_of(path, headers, json.dumps(body).encode())
    assert found is not None
    return found


def whole(parts: list[Part]) -> bytes:
    body = merged(parts)
    assert body is not None
    return body


def tensor(data: list[Any], shape: list[int], name: str = "x") -> dict[str, Any]:
    return {"name": name, "datatype": "FP32", "shape": shape, "data": data}


def test_instances_are_put_together_and_shared_out() -> None:
    parts = [part({"instances": [1, 2]}), part({"instances": [[3]]})]
    assert parts[0].likeness == parts[1].likeness
    assert json.loads(whole(parts)) == {"instances": [1, 2, [3]]}
    shares = split(b'{"predictions": ["a", "b", "c"], "model": "m"}', parts, "id")
    assert shares is not None
    own = {"message": "", "batchId": "id", "model": "m"}
    assert [json.loads(share) for share in shares] == [{"predictions": ["a", "b"], **own}, {"predictions": ["c"], **own}]


def test_tensors_are_put_together_and_shared_out() -> None:
    one = {"id": "1", "inputs": [tensor([1, 2, 3, 4], [2, 2])]}
    two = {"inputs": [tensor([5, 6], [1, 2])]}
    parts = [part(one, V2), part(two, V2)]
    assert parts[0].likeness == parts[1].likeness
    assert json.loads(whole(parts)) == {"inputs": [tensor([1, 2, 3, 4, 5, 6], [3, 2])]}
    answer = {"model_name": "m", "id": "x", "outputs": [tensor([7, 8, 9], [3], "y"), tensor([[1], [2], [3]], [3, 1], "z")]}
    shares = split(json.dumps(answer).encode(), parts, "")
    assert shares is not None
    assert json.loads(shares[0]) == {"model_name": "m", "id": "1", "outputs": [tensor([7, 8], [2], "y"), tensor([[1], [2]], [2, 1], "z")]}
    assert json.loads(shares[1])["outputs"] == [tensor([9], [1], "y"), tensor([[3]], [1, 1], "z")]


@pytest.mark.parametrize(
    "other",
    [
        part({"instances": [1], "parameters": {"top": 2}}),
        part({"instances": [1]}, b"/v1/models/n:predict"),
        part({"instances": [1]}, headers=((b"Authorization", b"Bearer x"),)),
        part({"inputs": [tensor([1], [1])]}, V2),
    ],
)
def test_what_differs_stays_apart(other: Part) -> None:
    assert other.likeness != part({"instances": [1]}).likeness


@pytest.mark.parametrize("change", [{"datatype": "INT64"}, {"name": "z"}, {"shape": [1, 1], "data": [1]}, {"data": [[1, 2]]}])
def test_tensors_that_differ_stay_apart(change: dict[str, Any]) -> None:
    usual = tensor([1, 2], [1, 2])
    assert part({"inputs": [usual]}, V2).likeness != part({"inputs": [{**usual, **change}]}, V2).likeness


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (V1, b"no json"),
        (V1, b"[]"),
        (V1, b"{}"),
        (V1, b'{"instances": []}'),
        (V1, b'{"instances": 3}'),
        (b"/predictions/m", b'{"instances": [1]}'),
        (V2, b'{"inputs": []}'),
        (V2, b'{"inputs": [{"name": "x", "shape": [2], "data": [1]}]}'),
        (V2, b'{"inputs": [{"name": "x", "shape": ["2"], "data": [1, 2]}]}'),
        (V2, b'{"inputs": [{"name": "x", "shape": [0], "data": []}]}'),
        (V2, b'{"inputs": [{"name": "x", "shape": [%s], "data": [1]}]}' % b",".join([b"9223372036854775807"] * 100_000)),
        (V1, b'{"instances": [1], "parameters": %s}' % (b"[" * 500 + b"]" * 500)),
        (V2, b'{"inputs": [{"name": "x", "shape": [1], "data": [1]}, {"name": "y", "shape": [2], "data": [1, 2]}]}'),
    ],
)
def test_what_is_no_such_request_goes_alone(path: bytes, body: bytes) -> None:
    assert part_of(path, (), body) is None


@pytest.mark.parametrize("body", [b"x", b"[]", b"{}", b'{"predictions": [1]}', b'{"predictions": {"a": 1}}', DEEP])
def test_an_answer_that_does_not_fit_is_not_shared_out(body: bytes) -> None:
    assert split(body, [part({"instances": [1, 2]})], "id") is None


@pytest.mark.parametrize("output", [tensor([1], [1]), {"name": "y"}, tensor([1, 2, 3], [2]), {**tensor([1, 2], [2]), "shape": ["2"]}])
def test_outputs_that_do_not_fit_are_not_shared_out(output: Any) -> None:
    assert split(json.dumps({"outputs": [output]}).encode(), [part({"inputs": [tensor([1, 2], [2])]}, V2)], "") is None
