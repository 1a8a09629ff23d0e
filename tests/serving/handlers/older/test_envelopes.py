from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from flambeau.serving.handlers.context import Context
from flambeau.serving.handlers.metrics import HandlerMetrics
from flambeau.serving.handlers.older.envelopes import BaseEnvelope, BodyEnvelope, JSONEnvelope, KServeEnvelope, KServev2Envelope


def context(**headers: str) -> Context:
    made = Context("m", "/nowhere", {"model": {"modelVersion": "1.0"}}, 1, None, metrics=HandlerMetrics("m"))
    made.begin([list(headers.items())], ["id-0"])
    return made


def echo(data: Any, _: Context) -> Any:
    return data


def test_the_bodys_values_are_the_rows() -> None:
    assert BodyEnvelope(echo).handle([{"data": 1}, {"body": b"x"}], context()) == [1, b"x"]


def test_all_requests_instances_go_through_one_call() -> None:
    seen: list[Any] = []

    def handle(data: Any, _: Context) -> Any:
        seen.append(data)
        return list(range(len(data)))

    rows = [
        {"body": {"instances": [{"b64": base64.b64encode(b"png").decode()}, {"picture": {"b64": "eA=="}, "id": 1}]}},
        {"data": json.dumps({"instances": [3]}).encode()},
    ]
    assert JSONEnvelope(handle).handle(rows, context()) == ['{"predictions": [0, 1]}', '{"predictions": [2]}']
    assert seen == [[b"png", {"picture": b"x", "id": 1}, 3]]


@pytest.mark.parametrize(("explain", "key"), [("False", "predictions"), ("True", "explanations")])
def test_kserve_one(explain: str, key: str) -> None:
    assert KServeEnvelope(echo).handle([{"body": {"instances": [1, 2]}}], context(explain=explain)) == [{key: [1, 2]}]


def test_kserve_two() -> None:
    inputs = [
        {"name": "a", "shape": [2, 1], "datatype": "FP32", "data": [1, 2]},
        {"name": "b", "shape": [1], "datatype": "BYTES", "data": ["x"]},
    ]
    envelope = KServev2Envelope(lambda data, _: [row["data"] for row in data])
    (answer,) = envelope.handle([{"body": {"inputs": inputs}}], context())
    assert answer == {
        "id": "id-0",
        "model_name": "m",
        "model_version": "1.0",
        "outputs": [
            {"name": "a", "datatype": "FP64", "data": [1.0, 2.0], "shape": [2, 1]},
            {"name": "b", "datatype": "BYTES", "data": ["x"], "shape": [1]},
        ],
    }


def test_ones_own_envelope() -> None:
    class Shout(BaseEnvelope):
        def parse_input(self, data: Any) -> Any:
            return [row["body"].upper() for row in data]

        def format_output(self, data: Any) -> Any:
            return [f"{value}!" for value in data]

    assert Shout(echo).handle([{"body": "a"}], context()) == ["A!"]
    assert Shout(echo).handle([], context()) == []
