"""The promises of design.md that concern the model server, each with its fault, through the HTTP door of a real server process.

Accepted means answered: so many requests as are sent get an answer, exactly one each, whatever dies, hangs, stops, raises or leaves
meanwhile. At most one execution: the handler writes every request that it runs into a file.
"""

from __future__ import annotations

import asyncio
import json
import random
import signal
import socket
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import psutil
import pytest
import pytest_asyncio

from tests.fixtures.archives import write_mar
from tests.fixtures.waiting import until, until_told
from tests.programs.kit import CONFIG, Served, alive, serving

BATCH_SIZE = 4
WORKERS = 2

FAULTY = """\
import json, os, pathlib, sys, time

RAN = {ran!r}

class Faulty:
    def initialize(self, context):
        if context.model_name == "slow":
            while not pathlib.Path(RAN).with_name("may-load").exists():
                time.sleep(0.01)
        self.ran = os.open(RAN, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def handle(self, data, context):
        orders = [row["body"] for row in data]
        os.write(self.ran, b"".join(b"%d\\n" % order["id"] for order in orders))
        faults = {{order.get("fault") for order in orders}}
        if "raise" in faults:
            raise ValueError("such is life")
        if "memory" in faults:
            raise MemoryError
        if "hang" in faults:
            time.sleep(60)
        if "exit" in faults:
            os._exit(3)
        time.sleep(0.004)
        answers = [order["id"] for order in orders]
        return answers[1:] if "short" in faults else answers
"""

YAML = f"minWorkers: {WORKERS}\nmaxWorkers: {WORKERS}\nbatchSize: {BATCH_SIZE}\nresponseTimeout: 2\njobQueueSize: 1000\n"
CROWDED = "minWorkers: 1\nmaxWorkers: 1\nbatchSize: 1\njobQueueSize: 3\n"


@dataclass
class House:
    """A server under load."""

    served: Served
    client: httpx2.AsyncClient
    ran: Path
    sent: int = 0
    answers: list[tuple[int, httpx2.Response]] = field(default_factory=list)
    """Each with the request's number."""

    def workers(self, model: str = "faulty") -> list[psutil.Process]:
        """Return a model's worker processes, by the name that they show in ps."""
        return [each for each in self.served.family() if each.name() == f"fl:{model}"]

    async def ask(self, fault: str | None = None, *, model: str = "faulty") -> httpx2.Response:
        """Send one request and note its answer."""
        number, self.sent = self.sent, self.sent + 1
        answer = await self.client.post(f"/predictions/{model}", json={"id": number, "fault": fault})
        self.answers.append((number, answer))
        return answer

    async def load(self, count: int, *, fault: str | None = None, every: int = 0, model: str = "faulty") -> None:
        """Send requests, all at once; every so manieth carries the fault."""
        await asyncio.gather(*(self.ask(fault if every and number % every == 0 else None, model=model) for number in range(count)))

    def statuses(self) -> Counter[int]:
        """Return the statuses of all answers, after checking what holds whatever happened."""
        assert len(self.answers) == self.sent, "sent = answered"
        assert len({number for number, _ in self.answers}) == self.sent, "one answer each"
        for number, answer in self.answers:
            if answer.status_code == 200:
                assert answer.text == str(number), "each its own"
            else:
                assert answer.json()["message"], "a failure says why"
        ran = Counter(int(line) for line in self.ran.read_text().split())
        assert not ran or max(ran.values()) == 1, "run at most once"
        assert {number for number, answer in self.answers if answer.status_code == 200} <= set(ran)
        return Counter(answer.status_code for _, answer in self.answers)

    def texts(self, status: int) -> set[str]:
        """Return what the answers of one status say."""
        return {answer.json()["message"] for _, answer in self.answers if answer.status_code == status}

    async def is_ready(self) -> bool:
        return (await self.client.get("/v2/models/faulty/ready")).status_code == 200

    async def gauge(self, name: str) -> float:
        """Return the sum of a gauge over all models."""
        lines = (await self.client.get("/metrics")).text.splitlines()
        return sum(float(line.split()[-1]) for line in lines if line.startswith(name + "{"))


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[tuple[Served, Path]]:
    """Serve three models: one with faults, one with a short queue, one that loads when it may."""
    root = tmp_path_factory.mktemp("promises")
    store, ran = root / "store", root / "ran"
    handler = FAULTY.format(ran=str(ran))
    write_mar(store, "faulty", handler, config=YAML)
    write_mar(store, "crowded", handler, config=CROWDED)
    write_mar(store, "slow", handler, config=CROWDED.replace("jobQueueSize: 3", "jobQueueSize: 50"))
    async with serving(root, ["--model-store", str(store), "--models", "all"], config=CONFIG) as served:
        yield served, ran
        if served.process.poll() is None:
            served.process.send_signal(signal.SIGTERM)
        assert await served.ended() == 0
    assert not list(served.temporary.glob("flambeau-*"))


@pytest_asyncio.fixture(loop_scope="module")
async def house(server: tuple[Served, Path]) -> AsyncIterator[House]:
    served, ran = server
    ran.write_text("")  # workers append to it
    limits = httpx2.Limits(max_connections=64)
    async with httpx2.AsyncClient(base_url=served.url, timeout=60, limits=limits) as client:
        house = House(served, client, ran)
        await until_told(house.is_ready)
        yield house


pytestmark = pytest.mark.asyncio(loop_scope="module")


async def meanwhile(house: House, loading: Awaitable[None], inject: Callable[[], object], *, pause: float = 0.05) -> int:
    """Inject a fault again and again while requests are on their way; return how often."""
    task = asyncio.ensure_future(loading)
    count = 0
    while not task.done():
        inject()
        count += 1
        await asyncio.wait([task], timeout=pause)
    await task
    return count


async def test_workers_killed_again_and_again(house: House) -> None:
    chance = random.Random(3)

    def kill() -> None:
        for victim in chance.sample(house.workers(), k=min(1, len(house.workers()))):
            victim.send_signal(chance.choice([signal.SIGKILL, signal.SIGSEGV]))

    kills = await meanwhile(house, house.load(300), kill, pause=0.1)
    statuses = house.statuses()
    assert set(statuses) <= {200, 500, 503, 507}, statuses
    assert statuses[500] + statuses[507] <= kills * BATCH_SIZE
    assert all("Worker died. worker " in text for text in house.texts(500) | house.texts(507))
    assert all("was killed by SIGKILL" in text for text in house.texts(507))


async def test_a_stopped_worker(house: House) -> None:
    victim = house.workers()[0]
    task = asyncio.ensure_future(house.load(100))
    await until(lambda: house.ran.stat().st_size)
    victim.send_signal(signal.SIGSTOP)
    await task
    statuses = house.statuses()
    assert set(statuses) <= {200, 500}
    assert statuses[500] <= BATCH_SIZE
    assert all("gave no answer within 2 s (responseTimeout) and was killed" in text for text in house.texts(500))
    # It may have been idle at the end; the next requests find out.
    await house.load(BATCH_SIZE * WORKERS)
    await until(lambda: not alive([victim]))
    assert set(house.statuses()) <= {200, 500}


@pytest.mark.parametrize(
    ("fault", "status", "why"),
    [
        ("raise", 503, "ValueError: such is life"),
        ("memory", 507, "Out of resources: MemoryError"),
        ("short", 503, "one for each request"),
        ("hang", 500, "gave no answer within 2 s (responseTimeout) and was killed"),
        ("exit", 500, "ended with exit code 3 while it answered"),
    ],
)
async def test_a_handler_with_a_fault(house: House, fault: str, status: int, why: str) -> None:
    await house.load(40, fault=fault, every=20)
    statuses = house.statuses()
    # 503: both workers died, and one had not answered anything before: its successor comes by back-off, and nobody waits for that.
    assert {200, status} <= set(statuses) <= {200, status, 503}
    if set(statuses) == {200, status}:
        assert statuses[status] <= 2 * BATCH_SIZE, "only the batches that a faulty request was in"
    assert any(why in text for text in house.texts(status)), house.texts(status)
    await until_told(house.is_ready)
    assert (await house.ask()).status_code == 200


async def test_clients_that_leave(house: House) -> None:
    host, port = house.served.url.removeprefix("http://").split(":")
    body = json.dumps({"id": 1_000_000}).encode()
    request = b"POST /predictions/faulty HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\nContent-Type: application/json\r\n\r\n" % len(body)

    def come_and_go() -> None:
        for part in (request + body, request, request[:40]):
            with socket.create_connection((host, int(port))) as connection:
                connection.sendall(part)
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # leave with a reset

    loading = house.load(150)
    task = asyncio.ensure_future(loading)
    while not task.done():
        await asyncio.to_thread(come_and_go)
        await asyncio.wait([task], timeout=0.02)
    lines = house.ran.read_text().split()
    house.ran.write_text("\n".join(line for line in lines if line != "1000000"))
    assert house.statuses() == {200: 150}
    assert [await house.gauge(name) for name in ("flambeau_requests_in_flight", "flambeau_queue_depth")] == [0, 0]


async def test_a_full_queue(house: House) -> None:
    await house.load(60, model="crowded")
    statuses = house.statuses()
    assert set(statuses) == {200, 503}
    assert all("3 requests wait already (job_queue_size)" in text for text in house.texts(503))
    assert all(int(answer.headers["retry-after"]) >= 1 for _, answer in house.answers if answer.status_code == 503)
    # What was refused did not run.
    assert len(house.ran.read_text().split()) == statuses[200]


async def test_a_question_about_readiness_may_wait(house: House) -> None:
    async def phase() -> str:
        told: dict[str, Any] = (await house.client.get("/v2/health/ready")).json()
        return str(told["models"].get("slow 1.0", {}).get("phase"))

    async def asked(preference: str) -> int:
        return (await house.client.get("/v2/health/ready", headers={"Prefer": preference})).status_code

    async def is_loading() -> bool:
        return await phase() == "loading"

    await until_told(is_loading)
    began = time.monotonic()
    assert await asked("respond-async, wait=1") == 503
    assert time.monotonic() - began >= 1
    waiting = asyncio.ensure_future(asked("wait=2"))
    house.ran.with_name("may-load").touch()
    while await waiting != 200:  # a busy machine may take longer than the server lets a question wait
        waiting = asyncio.ensure_future(asked("wait=2"))


async def test_a_slow_start(house: House) -> None:
    told: dict[str, Any] = (await house.client.get("/v2/health/ready")).json()
    if not told["ready"]:
        assert (told["reason"], told["models"]["slow 1.0"]["ready"]) == ("ModelLoading", False)
        assert (await house.client.get("/ping")).status_code == 500
    task = asyncio.ensure_future(house.load(30, model="slow"))
    await house.load(30)
    house.ran.with_name("may-load").touch()
    await task
    assert house.statuses() == {200: 60}
    await until_told(lambda: everything_is_ready(house.client))


async def everything_is_ready(client: httpx2.AsyncClient) -> bool:
    return bool((await client.get("/ping")).json() == {"status": "Healthy"})


async def test_scaling_to_and_fro(house: House) -> None:
    task = asyncio.ensure_future(house.load(300))
    wish = WORKERS
    while not task.done():
        wish = 4 - wish
        scaled = await house.client.put("/models/faulty", params={"min_worker": wish, "max_worker": wish})
        assert scaled.status_code in (200, 202), scaled.text
        await asyncio.wait([task], timeout=0.05)
    await task
    await house.client.put("/models/faulty", params={"min_worker": WORKERS, "max_worker": WORKERS})
    assert house.statuses() == {200: 300}


async def test_a_fork_server_that_dies_takes_its_workers_and_the_server_recovers(house: House) -> None:
    [fork_server] = [each for each in house.served.family() if each.name() == "fl:fork-server"]
    task = asyncio.ensure_future(house.load(100))
    await until(lambda: house.ran.stat().st_size)
    fork_server.kill()
    await task
    statuses = house.statuses()
    assert set(statuses) <= {200, 500, 503, 507}
    assert statuses[500] + statuses[507] <= WORKERS * BATCH_SIZE
    await until_told(house.is_ready)
    assert (await house.ask()).status_code == 200


async def test_a_server_that_is_told_to_end_answers_what_it_accepted(house: House) -> None:
    """The last: the server is gone after it."""
    answered: list[int] = []
    refused = 0

    async def ask(number: int) -> None:
        nonlocal refused
        try:
            answered.append((await house.client.post("/predictions/faulty", json={"id": number})).status_code)
        except httpx2.TransportError:
            refused += 1

    async def many() -> None:
        await asyncio.gather(*(ask(number) for number in range(200)))

    task = asyncio.ensure_future(many())
    await until(lambda: house.ran.stat().st_size)
    house.served.process.send_signal(signal.SIGTERM)
    await task
    ran: Sequence[str] = house.ran.read_text().split()
    assert Counter(answered) == {200: len(ran)}, "what ran was answered, and nothing was answered that did not run"
    assert len(answered) + refused == 200
    assert len(set(ran)) == len(ran)
    assert house.served.process.wait(30) == 0
