from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from flambeau.foundation.errors import TooLarge
from flambeau.serving.handlers.service import Outcome
from flambeau.serving.model import Answer, Job, Method, MetricUpdate, ModelConfig, ModelSpec, Protocol
from flambeau.serving.workers.execution import run_batch

SPEC = ModelSpec("m", "1.0", Path("/nowhere"), "m.mar", "handler.py", config=ModelConfig(response_bytes_max=1000))


class Handling:
    """A handler from a function of one row; remembers what it was given."""

    takes_tensors = False

    def __init__(self, answer: Callable[[Any], Outcome]) -> None:
        self.answer = answer
        self.rows: list[object] = []
        self.headers: list[list[tuple[str, Any]]] = []
        self.request_ids: list[str] = []
        self.calls = 0

    def predict(self, rows: list[object], headers: list[list[tuple[str, Any]]], request_ids: list[str], send: Any = None) -> list[Outcome]:
        self.calls += 1
        self.rows, self.headers, self.request_ids = rows, headers, request_ids
        return [self.answer(row) for row in rows]

    def take_updates(self) -> list[MetricUpdate]:
        return []


def echo(row: Any) -> Outcome:
    return Outcome(row["data"] if "data" in row else bytes(row["body"]))


def run(handling: Handling, *jobs: Job, spec: ModelSpec = SPEC) -> list[Answer]:
    times = iter([0.75, 1.0, 1.5, 1.625])
    return run_batch(handling, spec, jobs, lambda: next(times))


def v1(*values: Any, id: str = "a", method: Method = Method.PREDICT) -> Job:
    body = json.dumps({"instances": [{"data": value} for value in values]}).encode()
    return Job(id, Protocol.V1, method, "", (("X-Who", id),), body)


def raw(body: bytes, id: str = "r") -> Job:
    return Job(id, Protocol.TORCHSERVE, Method.PREDICT, "image/png", (), body)


def test_who_asks_hears_how_long_decoding_and_encoding_took() -> None:
    curious = replace(raw(b"png"), headers=(("X-Flambeau-Timing", "1"),))
    told, plain = run(Handling(echo), curious, raw(b"png"))
    assert told.headers == (("server-timing", 'decode;dur=250.000, encode;dur=125.000, batch;desc="2"'),)
    assert (told.handler_seconds, plain.headers) == (0.5, ())


def test_the_rows_of_all_requests_go_through_one_call_and_come_back_to_their_own() -> None:
    handling = Handling(echo)
    answers = run(handling, v1(1, 2, id="a"), raw(b"png"), v1(3, id="b"))
    assert [answer.body for answer in answers] == [b'{"predictions":[1,2]}', b"png", b'{"predictions":[3]}']
    assert [answer.handler_seconds for answer in answers] == [0.5, 0.5, 0.5]
    assert handling.calls == 1
    assert handling.request_ids == ["a", "a", "r", "b"]
    assert handling.headers[1] == [("X-Who", "a"), ("explain", "False")]


def test_a_request_that_cannot_be_decoded_fails_alone() -> None:
    handling = Handling(echo)
    bad = Job("x", Protocol.V1, Method.PREDICT, "", (), b"{not json")
    answers = run(handling, v1(1), bad, v1(2))
    assert [answer.status for answer in answers] == [200, 400, 200]
    assert answers[1].error_type == "BadRequestException"
    assert answers[1].body.startswith(b"the body is not JSON")
    assert len(handling.rows) == 2


def test_no_call_is_made_for_nothing() -> None:
    handling = Handling(echo)
    assert run(handling, Job("x", Protocol.V2, Method.PREDICT, "", (), b"[]"))[0].status == 400
    assert handling.calls == 0


def test_a_row_that_fails_names_its_instance_and_leaves_the_others_alone() -> None:
    def picky(row: Any) -> Outcome:
        return Outcome(None, 400, error="no picture", error_type="InternalServerException") if row["data"] == "bad" else Outcome(1)

    answers = run(Handling(picky), v1("good", "bad"), v1("good"))
    assert (answers[0].status, answers[0].body) == (400, b"instance 1: no picture")
    assert (answers[1].status, answers[1].body) == (200, b'{"predictions":[1]}')


def test_an_answer_that_cannot_be_encoded_or_is_too_large_fails_alone() -> None:
    class Hostile:
        def tolist(self) -> Any:
            raise ZeroDivisionError

    results = {1: object(), 2: Hostile(), 3: "x" * 2000, 4: "fine"}
    answers = run(Handling(lambda row: Outcome(results[row["data"]])), v1(1), v1(2), v1(3), v1(4))
    assert [answer.status for answer in answers] == [503, 503, 500, 200]
    assert b"Unsupported model output data type" in answers[0].body
    assert b"at most 1000 are allowed" in answers[2].body


def test_a_defect_of_a_codec_costs_one_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flambeau.serving.protocol.v2.decode", lambda job: 1 / 0)
    answers = run(Handling(echo), Job("x", Protocol.V2, Method.PREDICT, "", (), b"{}"), v1(1))
    assert [answer.status for answer in answers] == [500, 200]


def test_what_the_handler_sets_reaches_the_answer() -> None:
    handling = Handling(lambda row: Outcome("tea", 418, "Teapot", "text/plain", (("x-pot", "1"),)))
    (answer,) = run(handling, raw(b""))
    assert (answer.status, answer.phrase, answer.content_type) == (418, "Teapot", "text/plain")
    assert (answer.headers, answer.error_type) == ((("x-pot", "1"),), None)


def test_only_the_route_asks_for_explanations_and_descriptions() -> None:
    handling = Handling(echo)
    forged = Job("x", Protocol.V1, Method.PREDICT, "", (("Describe", "True"), ("explain", "True")), b'{"instances":[{"data":1}]}')
    run(handling, forged)
    assert handling.headers == [[("explain", "False")]]
    answers = run(handling, v1(1, method=Method.EXPLAIN))
    assert ("explain", "True") in handling.headers[0]
    assert answers[0].body == b'{"explanations":[1]}'
    run(handling, Job("x", Protocol.TORCHSERVE, Method.DESCRIBE, "", (), b""))
    assert ("describe", "True") in handling.headers[0]


@pytest.mark.parametrize(
    ("envelope", "body", "expected"),
    [
        ("kserve", b'{"instances":[{"data":1},{"data":2}]}', b'{"predictions":[1,2]}'),
        ("kserve", b"\x89PNG", b"\x89PNG"),
        (None, b"plain", b"plain"),
    ],
)
def test_an_envelope_means_json_over_torchserves_own_route(envelope: str | None, body: bytes, expected: bytes) -> None:
    spec = ModelSpec("m", "1.0", Path("/nowhere"), "m.mar", "handler.py", envelope=envelope)
    assert run(Handling(echo), raw(body), spec=spec)[0].body == expected


@pytest.mark.parametrize(
    ("name", "body", "expected"),
    [
        ("body", b"plain", b"plain"),
        ("json", b'{"instances": [1, {"b64": "eA=="}]}', b'{"predictions": [1, "x"]}'),
    ],
)
def test_the_older_envelopes_read_torchserves_routes(name: str, body: bytes, expected: bytes) -> None:
    spec = ModelSpec("m", "1.0", Path("/nowhere"), "m.mar", "handler.py", envelope=name)

    def identity(row: Any) -> Outcome:
        return Outcome(bytes(row).decode() if isinstance(row, bytes | bytearray) else row)

    assert run(Handling(identity), raw(body), spec=spec)[0].body == expected
    assert run(Handling(echo), v1(1), spec=spec)[0].body == b'{"predictions":[1]}'
    refused = run(Handling(identity), raw(b"{}"), raw(body), spec=spec)
    assert [answer.status for answer in refused] == [200 if name == "body" else 400, 200]


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        (
            "multipart/form-data; boundary=b",
            b'--b\r\nContent-Disposition: form-data; name="data"; filename="d.json"\r\n'
            b'Content-Type: application/json\r\n\r\n{"instances": [{"data": 1}]}\r\n--b--\r\n',
        ),
        ("application/x-www-form-urlencoded", b"data=%7B%22instances%22%3A+%5B%7B%22data%22%3A+1%7D%5D%7D"),
    ],
)
def test_an_envelopes_document_may_come_in_a_form(content_type: str, body: bytes) -> None:
    spec = ModelSpec("m", "1.0", Path("/nowhere"), "m.mar", "handler.py", envelope="kserve")
    job = Job("f", Protocol.TORCHSERVE, Method.PREDICT, content_type, (), body)
    assert run(Handling(echo), job, spec=spec)[0].body == b'{"predictions":[1]}'
    broken = Job("f", Protocol.TORCHSERVE, Method.PREDICT, "multipart/form-data; boundary=b", (), b"--b")
    assert run(Handling(echo), broken, spec=spec)[0].status == 400


class Streaming(Handling):
    """Sends two parts of each row before it answers."""

    def predict(self, rows: list[object], headers: list[list[tuple[str, Any]]], request_ids: list[str], send: Any = None) -> list[Outcome]:
        for part in ("one", "two"):
            for row in range(len(rows)):
                send(row, Outcome(part, 202, "Soon", "text/plain", (("a", "b"),)))
        return super().predict(rows, headers, request_ids, send)


def test_parts_go_to_their_jobs_and_the_first_has_the_head() -> None:
    sent: list[tuple[int, Answer | None, bytes]] = []
    bad = Job("x", Protocol.V1, Method.PREDICT, "", (), b"{not json")
    jobs = [raw(b"a"), bad, raw(b"b")]
    answers = run_batch(Streaming(echo), SPEC, jobs, lambda: 0.0, lambda *part: sent.append(part))
    head = Answer(202, "text/plain", b"", (("a", "b"),), phrase="Soon")
    assert sent == [(0, head, b"one"), (2, head, b"one"), (0, None, b"two"), (2, None, b"two")]
    assert [answer.body for answer in answers if answer.status == 200] == [b"a", b"b"]


def test_a_part_over_the_bound_is_refused() -> None:
    class TooLong(Handling):
        def predict(self, rows: list[object], headers: Any, request_ids: list[str], send: Any = None) -> list[Outcome]:
            send(0, Outcome("x" * 2000))
            return []

    with pytest.raises(TooLarge, match="at most 1000 are allowed"):
        run_batch(TooLong(echo), SPEC, [raw(b"a")], lambda: 0.0, lambda *part: None)
