"""Streamed answers through a real door; the model is a stand-in until workers stream."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import cast

import httpx2
import pytest

from flambeau.foundation import http1
from flambeau.serving.batching.queue import Reply, Ticket
from flambeau.serving.dataplane import DataPlane
from flambeau.serving.frontends import http
from flambeau.serving.frontends.http import HttpFrontend
from flambeau.serving.frontends.routes import Plane
from flambeau.serving.management import Management
from flambeau.serving.metrics.server import ServerMetrics
from flambeau.serving.model import Answer, Job
from flambeau.serving.workflow.registry import Workflows

HEAD = Answer(200, None, b"")


class Model:
    """Stands for a loaded model and its queue: runs what the test says."""

    name = "m"
    version = "1.0"

    def __init__(self, play: Callable[[Reply], None]) -> None:
        self.queue = self
        self.cancelled = asyncio.Event()
        self._play = play

    def submit(self, job: Job, reply: Reply) -> Ticket:
        asyncio.get_running_loop().call_soon(self._play, reply)
        return Ticket(job, reply, None, 0.0)

    def cancel(self, ticket: object) -> None:
        self.cancelled.set()

    def model(self, name: str, version: str | None) -> Model:
        return self


@contextlib.asynccontextmanager
async def door(model: Model) -> AsyncIterator[tuple[str, int]]:
    unused, none = cast(Management, None), cast(Workflows, None)
    metrics = ServerMetrics(lambda: [])
    frontend = HttpFrontend(
        cast(DataPlane, model), unused, metrics, access_log=None, request_bytes_max=1000, model_api=False, workflows=none
    )
    server = http1.Server(frontend.door(frozenset(Plane)))
    yield await server.start(host="127.0.0.1", port=0)
    await server.close()
    await frontend.close()


async def test_parts_go_out_as_they_come() -> None:
    def play(reply: Reply) -> None:
        reply.begin(HEAD)
        reply.chunks([b"one "])
        reply.chunks([b"two "])
        reply.answer(Answer(200, None, b"three"))

    async with door(Model(play)) as (host, port), httpx2.AsyncClient() as client:
        response = await client.post(f"http://{host}:{port}/predictions/m")
    assert (response.status_code, response.text) == (200, "one two three")
    assert response.headers["transfer-encoding"] == "chunked"
    assert response.headers["ts_stream_next"] == "true"


async def test_a_failure_after_the_first_part_cuts_the_answer() -> None:
    def play(reply: Reply) -> None:
        reply.begin(HEAD)
        reply.chunks([b"one "])
        reply.answer(Answer(500, None, b"Worker died.", (), "InternalServerException"))

    async with door(Model(play)) as (host, port), httpx2.AsyncClient() as client:
        with pytest.raises(httpx2.TransportError):
            await client.post(f"http://{host}:{port}/predictions/m")


async def test_a_client_that_does_not_read_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "STREAM_BYTES_WAITING_MAX", 1_000_000)

    def begin(reply: Reply) -> None:
        reply.begin(HEAD)
        play(reply)

    def play(reply: Reply) -> None:
        if not model.cancelled.is_set():
            reply.chunks([b"x" * 100_000])
            asyncio.get_running_loop().call_soon(play, reply)

    model = Model(begin)
    async with door(model) as address:
        _, writer = await asyncio.open_connection(*address)
        writer.transport.pause_reading()  # type: ignore[attr-defined]  # a socket's transport
        writer.write(b"GET /predictions/m HTTP/1.1\r\nHost: x\r\n\r\n")
        async with asyncio.timeout(20):
            await model.cancelled.wait()
        writer.close()
