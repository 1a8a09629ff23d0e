"""Modes of model-config.yaml through the HTTP door of a real server process."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator

import httpx2
import pytest
import pytest_asyncio

from tests.fixtures.archives import write_mar
from tests.fixtures.waiting import until_told
from tests.programs.kit import serving

STATEFUL = """
counts = {}

class Handler:
    def initialize(self, context):
        self.context = context

    def handle(self, data, context):
        answers = []
        for index, row in enumerate(data):
            id = context.get_sequence_id(index)
            if context.get_request_header(index, context.header_key_sequence_start) == "true":
                context.set_response_header(index, context.header_key_sequence_id, id)
            counts[id] = counts.get(id, 0) + 1
            answers.append(counts[id])
        return answers
"""

GENERATES = """
class Handler:
    def initialize(self, context):
        self.left = {}

    def handle(self, data, context):
        ids = [context.get_request_id(index) for index in range(len(data))]
        for id, row in zip(ids, data):
            self.left.setdefault(id, int(bytes(row["body"])) if "body" in row else 0)
            self.left[id] -= 1
        context.stopping_criteria = [(lambda value, id=id: self.left[id] <= 0) for id in ids]
        return [f"token {self.left[id]}\\n" for id in ids]
"""

ASYNC = """
import asyncio

class Handler:
    def initialize(self, context):
        self.waiting = asyncio.Event()

    async def handle(self, data, context):
        if bytes(data[0]["body"]) == b"go":
            self.waiting.set()
        await self.waiting.wait()
        return ["went"]
"""

SLEEPS = """
import time

class Handler:
    def initialize(self, context):
        self.warm = []

    def handle(self, data, context):
        body = bytes(data[0]["body"])
        if body == b"warm":
            self.warm.append(1)
        if body == b"sleep":
            time.sleep(0.5)
        return [len(self.warm)]
"""

COROUTINE = """
class Handler:
    def initialize(self, context):
        pass

    async def handle(self, data, context):
        return data
"""

MODELS = {
    "stateful": (
        STATEFUL,
        "batchSize: 2\nsequenceBatching: true\nsequenceMaxIdleMSec: 60000\nmaxNumSequence: 2\nmaxSequenceJobQueueSize: 5",
    ),
    "generates": (GENERATES, "batchSize: 2\ncontinuousBatching: true"),
    "async": (ASYNC, "batchSize: 4\nasyncCommunication: true"),
    "sleeps": (
        SLEEPS,
        "clientTimeoutInMills: 200\nwarmup:\n- {body: warm, content_type: application/octet-stream}\n- {body: warm, content_type: image/x}",
    ),
    "coroutine": (COROUTINE, "batchSize: 1"),
}


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def client(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[httpx2.AsyncClient]:
    root = tmp_path_factory.mktemp("modes")
    for name, (code, yaml) in MODELS.items():
        write_mar(root / "store", name, code, config=yaml)
    async with (
        serving(root, ["--model-store", str(root / "store"), "--models", "all"]) as served,
        httpx2.AsyncClient(base_url=served.url, timeout=30) as client,
    ):

        async def is_ready() -> bool:
            return (await client.get("/v2/health/ready")).status_code == 200

        await until_told(is_ready)
        yield client


pytestmark = pytest.mark.asyncio(loop_scope="module")

OCTETS = {"content-type": "application/octet-stream"}


async def test_a_sequence(client: httpx2.AsyncClient) -> None:
    first = await client.post("/predictions/stateful", content=b"x")
    id_ = first.headers["ts_request_sequence_id"]
    assert (first.text, id_.startswith("ts-seq-")) == ("1", True)
    headers = {"ts_request_sequence_id": id_}
    assert [(await client.post("/predictions/stateful", headers=headers)).text for _ in range(2)] == ["2", "3"]
    assert (await client.post("/predictions/stateful", headers={"ts_request_sequence_id": "other"})).text == "1"
    refused = await client.post("/predictions/stateful")
    assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
    assert "2 sequences are open already (maxNumSequence)" in refused.json()["message"]
    last = await client.post("/predictions/stateful", headers={**headers, "ts_request_sequence_end": "true"})
    assert last.text == "4"
    assert (await client.post("/predictions/stateful", headers=headers)).text == "5"
    [told] = (await client.get("/models/stateful")).json()
    assert (told["stateful"], told["maxNumSequence"], told["sequenceMaxIdleMSec"]) == (True, 2, 60000)


async def test_a_continuous_batch_is_streamed(client: httpx2.AsyncClient) -> None:
    async with client.stream("POST", "/predictions/generates", content=b"3", headers=OCTETS) as answer:
        assert answer.headers["transfer-encoding"] == "chunked"
        assert [part async for part in answer.aiter_lines()] == ["token 2", "token 1", "token 0"]
    whole = await client.post("/v1/models/generates:predict", json={"instances": [{"body": 2}]})
    assert whole.status_code == 503, "this handler reads bytes"
    texts = await asyncio.gather(*(client.post("/predictions/generates", content=b"2", headers=OCTETS) for _ in range(8)))
    assert {text.text for text in texts} == {"token 1\ntoken 0\n"}


async def test_coroutines_run_side_by_side(client: httpx2.AsyncClient) -> None:
    waiting = [asyncio.ensure_future(client.post("/predictions/async", content=b"wait", headers=OCTETS)) for _ in range(8)]
    await asyncio.wait(waiting, timeout=0.2)
    assert (await client.post("/predictions/async", content=b"go", headers=OCTETS)).text == "went"
    assert [(await each).text for each in waiting] == ["went"] * 8


async def test_the_clients_clock_and_the_warm_up(client: httpx2.AsyncClient) -> None:
    late = await client.post("/predictions/sleeps", content=b"sleep", headers=OCTETS)
    assert (late.status_code, late.json()["type"]) == (504, "RequestTimeoutException")
    assert late.json()["message"] == "no answer from model sleeps 1.0 within the request's 0.2 s"

    async def warm() -> bool:
        return (await client.post("/predictions/sleeps", content=b"x", headers=OCTETS)).text == "2"

    await until_told(warm)
    [told] = (await client.get("/models/sleeps")).json()
    assert told["clientTimeoutInMills"] == 200


async def test_a_coroutine_function_without_the_mode_for_it_is_told_by_name(client: httpx2.AsyncClient) -> None:
    answer = await client.post("/predictions/coroutine", content=b"x")
    assert answer.status_code == 503
    assert "set asyncCommunication: true in model-config.yaml" in json.loads(answer.text)["message"]
