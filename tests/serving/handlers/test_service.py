from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from flambeau.serving.handlers.service import Outcome, Service

Load = Callable[..., Service]
Ask = Callable[..., list[Outcome]]

FUNCTION = """
def handle(data, context):
    if data is None:
        context.started = context.system_properties["model_dir"]
        return None
    {body}
"""


def function(body: str) -> dict[str, str]:
    """A module whose ``handle`` function does this on every batch."""
    return {"h.py": FUNCTION.format(body=body)}


def test_a_function_is_initialized_with_none_and_then_called(load: Load, ask: Ask) -> None:
    service = load(function("return [row['body'] * 2 for row in data]"), "h.py")
    assert vars(service.context)["started"]
    assert ask(service, [{"body": 2}, {"body": 3}]) == [Outcome(4), Outcome(6)]


@pytest.mark.parametrize("handler", ["h:entry", "h.py:entry", "folder/h.py:entry"])
def test_a_function_can_be_named(load: Load, ask: Ask, handler: str) -> None:
    service = load(
        {"h.py": "def entry(data, context):\n    return data and [1 for _ in data]\nclass A:\n    def handle(self, d, c): return [2]\n"},
        handler,
    )
    assert ask(service, [{}])[0].value == 1


def test_a_class_is_initialized_once(load: Load, ask: Ask) -> None:
    service = load(
        {
            "h.py": """
from collections import OrderedDict
class Helper: ...
class Mine:
    def initialize(self, context): self.seen = [context.model_name]
    def handle(self, data, context):
        self.seen.append(len(data))
        return [self.seen] * len(data)
"""
        },
        "h.py",
    )
    ask(service, [{}])
    assert ask(service, [{}, {}])[1].value == ["m", 1, 2]


def test_what_the_handler_sets_reaches_the_answer(load: Load, ask: Ask) -> None:
    body = """
    context.set_response_content_type(0, "image/png")
    context.set_response_header(0, "X-Mine", "yes")
    context.set_response_status(418, "Teapot", idx=1)
    return [b"png", context.get_request_header(1, "x-asked") + context.get_request_id(1)]
"""
    service = load(function(body), "h.py")
    assert ask(service, [{}, {}], {"X-Asked": "who"}) == [
        Outcome(b"png", 200, "", "image/png", (("X-Mine", "yes"),)),
        Outcome("whoid-1", 418, "Teapot"),
    ]


def test_answers_never_inherit_the_last_batch(load: Load, ask: Ask) -> None:
    service = load(function("data[0] and context.set_all_response_status(500)\n    return [1] * len(data)"), "h.py")
    assert ask(service, [{"fail": 1}])[0].status == 500
    assert ask(service, [{}])[0].status == 200


def test_an_exception_fails_the_batch_with_its_cause_and_place(load: Load, ask: Ask, caplog: pytest.LogCaptureFixture) -> None:
    service = load(function("return [1 / row['body'] for row in data]"), "h.py")
    outcomes = ask(service, [{"body": 1}, {"body": 0}])
    expected = "Prediction failed: ZeroDivisionError: division by zero at h.py:6"
    assert outcomes == [Outcome(None, 503, error=expected, error_type="InternalServerException")] * 2
    assert "Traceback" in caplog.text
    assert ask(service, [{"body": 1}])[0].value == 1.0


@pytest.mark.parametrize("text", ["MemoryError()", "RuntimeError('CUDA error: out of memory')"])
def test_memory_that_ran_out_is_507(load: Load, ask: Ask, text: str) -> None:
    outcome = ask(load(function(f"raise {text}"), "h.py"), [{}])[0]
    assert outcome.status == 507
    assert outcome.error is not None
    assert outcome.error.startswith("Out of resources: ")


def test_a_handler_chooses_its_error(load: Load, ask: Ask) -> None:
    files = {
        "h.py": "from ts.utils.util import PredictionException\n" + FUNCTION.format(body="raise PredictionException('no such user', 404)")
    }
    assert ask(load(files, "h.py"), [{}]) == [Outcome(None, 404, error="no such user", error_type="InternalServerException")]


def test_an_exception_in_an_items_place_fails_that_item(load: Load, ask: Ask) -> None:
    outcomes = ask(load(function("return [1, ValueError('bad row')]"), "h.py"), [{}, {}])
    assert outcomes[0] == Outcome(1)
    assert (outcomes[1].status, outcomes[1].error) == (503, "Prediction failed: ValueError: bad row")


def test_an_answer_that_is_no_list_is_told(load: Load, ask: Ask) -> None:
    outcome = ask(load(function("return {'a': 1}"), "h.py"), [{}])[0]
    assert (outcome.status, outcome.error) == (
        503,
        "Invalid model predict output: handler h.py of model m returned dict, expected a list of 1",
    )


def test_a_list_of_the_wrong_length_is_told(load: Load, ask: Ask) -> None:
    outcomes = ask(load(function("return [1]"), "h.py"), [{}, {}])
    expected = "number of batch response mismatched: handler h.py of model m returned 1, expected 2, one for each request"
    assert [(outcome.status, outcome.error) for outcome in outcomes] == [(503, expected)] * 2


def test_refused_rows_fail_alone_and_the_rest_runs_once(load: Load, ask: Ask) -> None:
    body = """
    bad = {index: PredictionException("no number", 400) for index, row in enumerate(data) if "n" not in row}
    if bad:
        raise InvalidRows(bad)
    context.set_response_header(0, "Ids", ",".join(context.request_ids.values()))
    return [row["n"] for row in data]
"""
    files = {"h.py": "from flambeau.serving.handlers.errors import InvalidRows, PredictionException\n" + FUNCTION.format(body=body)}
    service = load(files, "h.py")
    outcomes = ask(service, [{}, {"n": 1}, {}, {"n": 3}])
    assert [outcome.status for outcome in outcomes] == [400, 200, 400, 200]
    assert [outcome.value for outcome in outcomes] == [None, 1, None, 3]
    assert outcomes[1].headers == (("Ids", "id-1,id-3"),)
    assert [outcome.error for outcome in ask(service, [{}])] == ["no number"]


def test_metrics_are_recorded(load: Load, ask: Ask) -> None:
    service = load(function("context.metrics.add_counter('Seen', len(data))\n    return data"), "h.py")
    ask(service, [{}, {}])
    ask(service, [{}])
    assert [(each.name, each.value, each.request_id) for each in service.take_updates()] == [("Seen", 2, "id-0,id-1"), ("Seen", 1, "id-0")]


def test_the_context_tells_device_and_configuration(load: Load, ask: Ask) -> None:
    body = "return [(context.system_properties['gpu_id'], context.model_yaml_config, context.manifest)]"
    service = load(function(body), "h.py", device="cuda:3", yaml={"handler": {"a": 1}}, model={"modelName": "m"})
    value: Any = ask(service, [{}])[0].value
    assert value == (3, {"handler": {"a": 1}}, {"model": {"modelName": "m"}})


def test_no_rows_are_no_work(load: Load, ask: Ask) -> None:
    assert ask(load(function("raise ValueError"), "h.py"), []) == []


STREAM = """
from ts.handler_utils.utils import send_intermediate_predict_response

def handle(data, context):
    if data is None:
        return None
    context.set_response_content_type(0, "text/event-stream")
    for word in ("one", "two"):
        send_intermediate_predict_response([word] * len(data), context.request_ids, "Intermediate Prediction success", 200, context)
    return ["end"] * len(data)
"""


def test_parts_of_an_answer_are_sent_while_the_handler_runs(load: Load) -> None:
    service = load({"h.py": STREAM}, "h.py")
    sent: list[tuple[int, Outcome]] = []
    outcomes = service.predict([{}, {}], [[], []], ["a", "b"], lambda row, part: sent.append((row, part)))
    assert [(row, part.value) for row, part in sent] == [(0, "one"), (1, "one"), (0, "two"), (1, "two")]
    assert sent[0][1].content_type == "text/event-stream"
    assert [outcome.value for outcome in outcomes] == ["end", "end"]


def test_nobody_can_send_parts_between_batches(load: Load, ask: Ask) -> None:
    service = load({"h.py": STREAM}, "h.py")
    assert "a part of an answer can be sent only" in (ask(service, [{}])[0].error or "")
    with pytest.raises(RuntimeError, match="while its batch is in handle"):
        service.context.send_part(0, "late")


def test_only_the_first_rank_of_a_group_sends_parts(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCAL_RANK", "1")
    sent: list[int] = []
    load({"h.py": STREAM}, "h.py").predict([{}], [[]], ["a"], lambda row, part: sent.append(row))
    assert sent == []


def test_a_part_that_says_a_failure_fails_the_answer(load: Load) -> None:
    service = load({"h.py": STREAM.replace('"Intermediate Prediction success", 200', '"no more", 507')}, "h.py")
    outcomes = service.predict([{}], [[]], ["a"], lambda row, part: None)
    assert (outcomes[0].status, outcomes[0].error) == (507, "no more")


FRAGILE = """
seen = []

def handle(data, context):
    if data is None:
        return None
    seen.append([row["n"] for row in data])
    if any(row["n"] == 0 for row in data):
        raise ZeroDivisionError("none")
    if len(data) > 1 and data[0]["n"] == 9:
        return [1]
    return [list(seen)] * len(data)
"""


def test_a_failing_batch_fails_whole_unless_the_model_wants_its_items_alone(load: Load, ask: Ask) -> None:
    rows = [{"n": 1}, {"n": 0}, {"n": 2}]
    assert [outcome.status for outcome in ask(load({"whole.py": FRAGILE}, "whole.py"), rows)] == [503, 503, 503]
    service = load({"h.py": FRAGILE}, "h.py", yaml={"isolateFailures": True})
    outcomes = ask(service, rows)
    assert [outcome.status for outcome in outcomes] == [200, 503, 200]
    # At most twice each, in order, and an item that fails alone is not tried a third time.
    assert outcomes[2].value == [[1, 0, 2], [1], [0], [2]]


def test_a_batch_of_the_wrong_length_counts_as_failing(load: Load, ask: Ask) -> None:
    service = load({"h.py": FRAGILE}, "h.py", yaml={"isolateFailures": True})
    assert [outcome.status for outcome in ask(service, [{"n": 9}, {"n": 9}])] == [200, 200]


def test_what_a_client_has_seen_is_not_run_again(load: Load) -> None:
    text = STREAM.replace('return ["end"] * len(data)', 'raise ValueError("late")')
    service = load({"h.py": text}, "h.py", yaml={"isolateFailures": True})
    sent: list[int] = []
    outcomes = service.predict([{}, {}], [[], []], ["a", "b"], lambda row, part: sent.append(row))
    assert [outcome.status for outcome in outcomes] == [503, 503]
    assert sent == [0, 1, 0, 1]
