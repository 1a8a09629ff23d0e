from __future__ import annotations

import numpy
import pytest
import torch

from flambeau.foundation.errors import Internal, InvalidInput, TooLarge
from flambeau.serving.model import Job, Method, Protocol
from flambeau.serving.protocol.form import Rows
from flambeau.serving.protocol.v1 import decode, encode


def rows(body: bytes, content_type: str = "application/json") -> Rows:
    return decode(Job("id", Protocol.V1, Method.PREDICT, content_type, (), body))


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b'{"instances": [{"data": "aGk="}, {"data": "eA=="}]}', [{"data": "aGk="}, {"data": "eA=="}]),
        (b'{"instances": [[1, 2], 3, "text", {"own key": 1}, 0, false]}', [[1, 2], 3, "text", {"own key": 1}, 0, False]),
        (b'{"inputs": [1], "instances": [2]}', [1]),
        (b'{"inputs": {"column": [1, 2]}}', [{"column": [1, 2]}]),
        (b'{"signature_name": "x", "instances": [NaN]}', None),
    ],
)
def test_each_instance_is_a_row(body: bytes, expected: list[object] | None) -> None:
    found = rows(body)
    assert found.noun == "instance"
    assert expected is None or found.rows == expected


@pytest.mark.parametrize("content_type", ["", "application/x-www-form-urlencoded", "text/plain", "application/json; charset=utf-8"])
def test_the_content_type_does_not_matter(content_type: str) -> None:
    assert rows(b'{"instances": [1]}', content_type).rows == [1]


@pytest.mark.parametrize(
    ("body", "what"),
    [
        (b"", "the body is not JSON"),
        (b"{", "the body is not JSON"),
        (b"\x89PNG", "the body is not JSON"),
        (b"[1, 2]", 'a JSON object with "instances", not a list'),
        (b"null", "not null"),
        (b'{"instance": [1], "b": 2}', 'the body has no "instances"; its keys are: b, instance'),
        (b"{}", "its keys are: none"),
        (b'{"instances": {"data": 1}}', '"instances" must be a list, not an object'),
        (b'{"instances": []}', '"instances" is empty'),
        (b'{"instances": [{"data": "x"}, {}]}', 'instance 1 is empty: it has no "data"'),
        (b'{"instances": [null]}', 'instance 0 is null: it has no "data"'),
        (b'{"instances": [1, {"data": null}]}', 'instance 1 has no "data": its value is null'),
        (b'{"instances": [{"data": ""}]}', 'instance 0 has no "data": its value is empty'),
    ],
)
def test_what_cannot_be_right_is_refused_by_name(body: bytes, what: str) -> None:
    with pytest.raises(InvalidInput) as raised:
        rows(body)
    assert what in raised.value.message
    assert raised.value.hint is not None
    assert "instances" in raised.value.hint


def test_depth_is_bounded() -> None:
    with pytest.raises(TooLarge):
        rows(b'{"instances": ' + b"[" * 5000 + b"]" * 5000 + b"}")


def test_predictions_are_compact() -> None:
    values = [numpy.int64(0), numpy.array([0.5, 1]), torch.tensor([1, 2]), {"label": 0.25}, "text"]
    encoded = encode(values, Method.PREDICT)
    assert encoded.body == b'{"predictions":[0,[0.5,1.0],[1,2],{"label":0.25},"text"]}'
    assert encoded.content_type == "application/json"
    assert encode([1], Method.EXPLAIN).body == b'{"explanations":[1]}'
    with pytest.raises(Internal, match="Unsupported model output data type"):
        encode([object()], Method.PREDICT)
