from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest
import pytest_asyncio
from grpc import aio

from flambeau.serving.frontends.grpc_asked import PARTS_BYTES_WAITING_MAX
from flambeau.serving.frontends.grpc_messages import message
from flambeau.serving.model import Sequences
from tests.fixtures.archives import BROKEN, write_mar
from tests.fixtures.waiting import until
from tests.serving.frontends.grpc_kit import (
    HANDLER,
    INFERENCE,
    REQUEST_BYTES_MAX,
    RESPONSE_BYTES_MAX,
    GrpcHouse,
    grpc_house,
    registration,
)

pytestmark = pytest.mark.asyncio(loop_scope="module")

Code = grpc.StatusCode


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def house(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[GrpcHouse]:
    root = tmp_path_factory.mktemp("grpc")
    archives = [
        registration(write_mar(root, "versatile", HANDLER)),
        registration(write_mar(root, "other", HANDLER, version="7"), job_queue_size=1),
        registration(write_mar(root, "broken", BROKEN)),
        registration(write_mar(root, "ordered", HANDLER), sequences=Sequences(idle_seconds_max=30.0, count_max=4)),
    ]
    async with grpc_house(root, archives) as made:
        yield made


async def test_a_row_is_the_map_and_its_values_are_bytearrays(house: GrpcHouse) -> None:
    row = {"data": b"\x00\xff", "body": b"", "text": "ä".encode()}
    response = await house.predict(input=row)
    expected = {name: ["bytearray", base64.b64encode(value).decode()] for name, value in row.items()}
    assert json.loads(response.prediction) == expected
    assert not response.HasField("status")


async def test_metadata_is_what_a_handler_reads_as_headers(house: GrpcHouse) -> None:
    metadata = (("x-mine", "yes"), ("mine-bin", b"\x00"), ("explain", "True"))
    response = await house.predict(order={"headers": ["x-mine", "mine-bin", "explain"]}, metadata=metadata)
    assert json.loads(response.prediction) == {"x-mine": "yes", "mine-bin": None, "explain": "False"}


async def test_a_sequence_id_is_a_header_and_comes_back(house: GrpcHouse) -> None:
    request = message(f"{INFERENCE}.PredictionsRequest")(model_name="versatile", sequence_id="s1")
    request.input["order"] = json.dumps({"headers": ["ts_request_sequence_id"]}).encode()
    response = await house.call(f"{INFERENCE}.InferenceAPIsService/Predictions", request)
    assert (json.loads(response.prediction), response.sequence_id) == ({"ts_request_sequence_id": "s1"}, "s1")


@pytest.mark.parametrize(
    ("fields", "code", "text"),
    [
        ({"model": "", "input": {}}, Code.INVALID_ARGUMENT, "Parameter model_name is required."),
        ({"model": "nobody", "input": {}}, Code.NOT_FOUND, "Model not found: nobody"),
        ({"version": "9", "input": {}}, Code.NOT_FOUND, "Model version: 9 does not exist for model: versatile"),
        ({"model": "broken", "input": {}}, Code.UNAVAILABLE, "the weights have gone missing"),
        ({"order": {"raise": "so be it"}}, Code.UNAVAILABLE, "so be it"),
        ({"order": {"fill": RESPONSE_BYTES_MAX + 1}}, Code.INTERNAL, "max_response_size"),
        ({"order": {"parts": ["x" * 60_000, "y" * 60_000]}}, Code.RESOURCE_EXHAUSTED, "max_response_size"),
        ({"input": {"data": b"x" * (REQUEST_BYTES_MAX + 1)}}, Code.RESOURCE_EXHAUSTED, "larger than max"),
    ],
)
async def test_errors_have_a_code_and_a_text(house: GrpcHouse, fields: dict[str, Any], code: Any, text: str) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        await house.predict(**fields)
    assert (caught.value.code(), text in caught.value.details()) == (code, True), caught.value.details()


async def test_a_dead_worker_is_told_and_another_takes_over(house: GrpcHouse) -> None:
    with pytest.raises(grpc.RpcError, match=r"Worker died.*exit code 3|code 3") as caught:
        await house.predict(order={"exit": 3})
    assert caught.value.code() is Code.INTERNAL
    assert (await house.predict(order={"answer": "back"})).prediction == b"back"


async def test_parts_come_as_they_are_sent_or_together(house: GrpcHouse) -> None:
    order = {"parts": ["one ", "two "], "answer": "three"}
    assert [part.prediction for part in await house.predict(method="StreamPredictions", order=order)] == [b"one ", b"two ", b"three"]
    assert (await house.predict(order=order)).prediction == b"one two three"


async def test_a_handler_that_does_not_stream_has_one_part(house: GrpcHouse) -> None:
    for answer in ("whole", ""):
        parts = await house.predict(method="StreamPredictions", order={"answer": answer})
        assert [part.prediction for part in parts] == [answer.encode()]


async def test_a_stream_that_fails_midway_ends_with_the_error(house: GrpcHouse) -> None:
    with pytest.raises(grpc.RpcError, match="so be it"):
        await house.predict(method="StreamPredictions", order={"parts": ["one"], "raise": "so be it"})


async def test_requests_of_a_stream_are_answered_in_their_order(house: GrpcHouse) -> None:
    responses = await in_sequence(house, {"answer": "a"}, {"raise": "no"}, {"answer": "c"}, start=True)
    names = {response.sequence_id for response in responses}
    assert [response.prediction for response in responses] == [b"a", b"", b"c"]
    assert (responses[1].status.code, "no" in responses[1].status.message) == (Code.UNAVAILABLE.value[0], True)
    assert all(name.startswith("ts-seq-") for name in names)


async def test_a_request_without_a_sequence_is_refused_and_the_stream_goes_on(house: GrpcHouse) -> None:
    first, second = await in_sequence(house, {"answer": "a"}, {"answer": "b"}, start=False)
    assert (first.status.code, first.status.message[:33]) == (Code.INVALID_ARGUMENT.value[0], "Parameter sequenceId is required.")
    assert second.HasField("status")


async def test_a_sequence_keeps_its_name_and_its_order(house: GrpcHouse) -> None:
    package = f"{INFERENCE}.InferenceAPIsService"
    answers: list[Any] = []

    async def requests() -> AsyncIterator[Any]:
        for number in range(3):
            request = message(f"{INFERENCE}.PredictionsRequest")(model_name="ordered")
            request.input["order"] = json.dumps({"headers": ["ts_request_sequence_id"]}).encode()
            if number == 0:
                request.input["ts_request_sequence_start"] = b"true"
            else:
                await until(lambda: len(answers) == number)  # noqa: B023 - it is over before the number changes
                request.sequence_id = answers[0].sequence_id
            yield request

    stub = house.channel.stream_stream(
        f"/{package}/StreamPredictions2",
        request_serializer=lambda sent: sent.SerializeToString(),
        response_deserializer=message(f"{INFERENCE}.PredictionResponse").FromString,
    )
    async for response in stub(requests(), timeout=30):
        answers.append(response)
    assert [response.HasField("status") for response in answers] == [False] * 3
    [name] = {response.sequence_id for response in answers}
    assert {json.loads(response.prediction)["ts_request_sequence_id"] for response in answers} == {name}


async def all_of(stream: Any) -> None:
    while await stream.read() is not aio.EOF:
        pass


async def test_a_client_that_does_not_read_is_given_up(house: GrpcHouse) -> None:
    stub = house.channel.unary_stream(
        f"/{INFERENCE}.InferenceAPIsService/StreamPredictions",
        request_serializer=lambda sent: sent.SerializeToString(),
        response_deserializer=message(f"{INFERENCE}.PredictionResponse").FromString,
    )
    # The client's own library takes up to 16 MB that nobody reads, as it finds the way to be quick.
    parts = 4 * PARTS_BYTES_WAITING_MAX // 90_000
    request = message(f"{INFERENCE}.PredictionsRequest")(model_name="versatile", input={"order": json.dumps({"flood": parts}).encode()})
    stream = stub(request, timeout=60)
    await stream.read()
    # Whole when the next answer comes: the flood has passed by then.
    assert (await house.predict(order={"answer": "next"})).prediction == b"next"
    with pytest.raises(grpc.RpcError, match="did not take the answer's parts") as caught:
        await all_of(stream)
    assert caught.value.code() is Code.RESOURCE_EXHAUSTED


async def in_sequence(house: GrpcHouse, *orders: Any, start: bool) -> Any:
    async def requests() -> AsyncIterator[Any]:
        for order in orders:
            request = message(f"{INFERENCE}.PredictionsRequest")(model_name="versatile")
            request.input["order"] = json.dumps(order).encode()
            if start:
                request.input["ts_request_sequence_start"] = b"true"
            yield request

    return await house.call(f"{INFERENCE}.InferenceAPIsService/StreamPredictions2", requests())


async def test_a_clients_deadline_is_kept_and_its_job_is_not_run(house: GrpcHouse, tmp_path: Path) -> None:
    busy = asyncio.ensure_future(house.predict("other", order={"touch": str(tmp_path / "began"), "wait_for": str(tmp_path / "go")}))
    await until((tmp_path / "began").exists)
    with pytest.raises(grpc.RpcError) as caught:
        await house.predict("other", order={"touch": str(tmp_path / "late")}, timeout=0.1)
    assert caught.value.code() is Code.DEADLINE_EXCEEDED
    await until(lambda: house.dataplane.model("other", None).queue.pending == 0)
    (tmp_path / "go").touch()
    await busy
    assert (await house.predict("other", order={"answer": "next"})).prediction == b"next"
    assert not (tmp_path / "late").exists()


async def test_a_cancelled_call_takes_its_job_away_and_a_full_queue_says_when_to_come_again(house: GrpcHouse, tmp_path: Path) -> None:
    busy = asyncio.ensure_future(house.predict("other", order={"touch": str(tmp_path / "began"), "wait_for": str(tmp_path / "go")}))
    await until((tmp_path / "began").exists)
    queue = house.dataplane.model("other", None).queue
    gone = asyncio.ensure_future(house.predict("other", order={"touch": str(tmp_path / "late")}))
    await until(lambda: queue.pending == 1)
    with pytest.raises(grpc.RpcError, match="job_queue_size") as caught:
        await house.predict("other", order={})
    assert caught.value.code() is Code.UNAVAILABLE
    assert dict(caught.value.trailing_metadata())["retry-after"] == "1"
    gone.cancel()
    await until(lambda: queue.pending == 0)
    (tmp_path / "go").touch()
    await busy
    assert not (tmp_path / "late").exists()


async def test_ping_tells_the_truth(house: GrpcHouse) -> None:
    response = await house.call(f"{INFERENCE}.InferenceAPIsService/Ping")
    assert json.loads(response.health) == {"status": "Unhealthy"}  # one model is broken


def counted(house: GrpcHouse) -> float:
    page = house.metrics.page(frozenset({"ts_inference_requests_total"}))().decode()
    return sum(float(line.rpartition(" ")[2]) for line in page.splitlines() if 'model_name="versatile"' in line)


async def test_numbers_and_lines_are_those_of_every_door(house: GrpcHouse) -> None:
    before = counted(house)
    await house.predict(order={"answer": "counted"})
    assert counted(house) == before + 1
    assert house.metrics.tally("versatile", "1.0", None).in_flight == 0
    line = f'"gRPC /{INFERENCE}.InferenceAPIsService/Predictions HTTP/2.0" 0 '
    await until(lambda: line.encode() in house.log.getvalue())
    assert b"Ping" not in house.log.getvalue()


async def test_json_lines_have_the_id_that_a_client_gave(house: GrpcHouse) -> None:
    await house.predict(order={"answer": "counted"}, metadata=(("x-request-id", "the-clients"),))
    await until(lambda: b'"the-clients"' in house.log.getvalue())
    line = next(json.loads(line) for line in house.log.getvalue().splitlines() if b'"the-clients"' in line)
    told = (line["logger"], line["method"], line["protocol"], line["status"], line["request_id"])
    assert told == ("access", "gRPC", "HTTP/2.0", 0, "the-clients")
