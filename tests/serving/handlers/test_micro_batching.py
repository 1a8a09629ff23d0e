from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from flambeau.serving.handlers.errors import InvalidRows, UnevenRows
from flambeau.serving.handlers.micro_batching import MicroBatching
from flambeau.serving.handlers.service import Outcome, Service

Load = Callable[..., Service]
Ask = Callable[..., list[Outcome]]

HANDLER = """
from ts.handler_utils.micro_batching import MicroBatching
from ts.torch_handler.base_handler import BaseHandler

class H(BaseHandler):
    def initialize(self, context):
        config = context.model_yaml_config["micro_batching"]
        self.handle = MicroBatching(self, config["micro_batch_size"], config.get("parallelism"))

    def preprocess(self, data):
        return [row["body"] for row in data]

    def inference(self, data):
        if "bad" in data:
            raise ValueError("bad row")
        return [(value * 2, len(data), self.handle.get_micro_batch_idx()) for value in data]

    def postprocess(self, data):
        return data

    def describe_handle(self):
        return "described"
"""


class Stages:
    """A handler whose stages a test gives."""

    context: Any = None

    def __init__(self, **stages: Callable[[Any], Any]) -> None:
        for name in ("preprocess", "inference", "postprocess"):
            setattr(self, name, stages.get(name, lambda data: data))


def test_a_handlers_batches_go_through_in_parts_and_come_back_in_order(load: Load, ask: Ask) -> None:
    yaml = {"micro_batching": {"micro_batch_size": 2, "parallelism": {"preprocess": 2, "inference": 2}}}
    service = load({"h.py": HANDLER}, "h.py", yaml=yaml)
    outcomes = ask(service, [{"body": number} for number in range(5)])
    assert [outcome.value for outcome in outcomes] == [(0, 2, 0), (2, 2, 0), (4, 2, 1), (6, 2, 1), (8, 1, 2)]
    assert ask(service, [{}], {"describe": "True"})[0].value == "described"
    outcomes = ask(service, [{"body": "bad"}, {"body": 1}])
    assert [outcome.error for outcome in outcomes] == ["Prediction failed: ValueError: bad row at h.py:15"] * 2
    assert ask(service, [{"body": 7}])[0].value == (14, 1, 0)


def test_stages_overlap() -> None:
    # The first micro-batch's inference waits for the second one's preparation: only a pipeline gets through.
    prepared = threading.Event()

    def preprocess(rows: list[int]) -> list[int]:
        if rows == [2]:
            prepared.set()
        return rows

    def inference(rows: list[int]) -> list[int]:
        assert prepared.wait(10)
        return rows

    batching = MicroBatching(Stages(preprocess=preprocess, inference=inference))
    assert batching.handle([1, 2]) == [1, 2]
    batching.shutdown()


def test_refused_rows_are_answered_in_their_place_and_the_rest_runs_once() -> None:
    def preprocess(rows: list[Any]) -> list[Any]:
        bad: dict[int, Exception] = {index: ValueError(row) for index, row in enumerate(rows) if isinstance(row, str)}
        if bad:
            raise InvalidRows(bad)
        if len(set(rows)) > 1:
            raise UnevenRows([[index] for index in range(len(rows))])
        return rows

    seen: list[list[int]] = []

    def inference(rows: list[int]) -> list[int]:
        seen.append(rows)
        return rows

    batching = MicroBatching(Stages(preprocess=preprocess, inference=inference), 3)
    answers = batching.handle([1, "x", 2, 3])
    assert [answer if isinstance(answer, int) else str(answer) for answer in answers] == [1, "x", 2, 3]
    assert sorted(seen) == [[1], [2], [3]]
    batching.shutdown()


@pytest.mark.parametrize("parallelism", [{"inference": 0}, {"think": 1}])
def test_what_cannot_be_is_refused(parallelism: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="one thread or more"):
        MicroBatching(Stages(), 1, parallelism)
    with pytest.raises(ValueError, match="1 or more"):
        MicroBatching(Stages(), 0)


def test_parallelism_can_change_between_batches() -> None:
    batching = MicroBatching(Stages())
    assert batching.handle([1]) == [1]
    batching.parallelism = {"inference": 3}
    assert batching.parallelism == {"preprocess": 1, "inference": 3, "postprocess": 1}
    assert batching.handle([1, 2]) == [1, 2]
    assert batching.get_micro_batch_idx() is None
    batching.shutdown()
