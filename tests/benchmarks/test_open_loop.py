"""The open loop: what it counts, and that it goes on when connections end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from benchmarks.client import Client, message_of
from benchmarks.load import Request
from benchmarks.open_loop import Seen, offer
from flambeau.foundation.http1 import Connection, Head, Limits, Server

MESSAGE = b"GET /%s HTTP/1.1\r\nHost: h\r\n\r\n"


class Answering:
    """Answers as the path says."""

    asked = 0

    def __init__(self, head: Head, connection: Connection) -> None:
        self.path = head.path
        self.connection = connection

    def on_body(self, data: bytes) -> None: ...

    def on_end(self) -> None:
        Answering.asked += 1
        match self.path:
            case b"/half":
                self.connection.respond(200 if Answering.asked % 2 else 503, [], b"body")
            case b"/close":
                self.connection.respond(200, [(b"connection", b"close")], b"body")
            case b"/cut":
                self.connection.abort()
            case b"/parts":
                self.connection.start(200, [], None)
                for _ in range(3):
                    self.connection.write(b"part")
                self.connection.finish()
            case _:
                self.connection.respond(200, [], b"body")

    def on_abort(self) -> None: ...
    def on_writable(self, writable: bool) -> None: ...


@pytest.fixture
async def port() -> AsyncIterator[int]:
    Answering.asked = 0
    server = Server(Answering, Limits())
    _, number = await server.start(host="127.0.0.1", port=0)
    yield number
    await server.close()


async def offered(port: int, path: bytes, connections: int = 4) -> Seen:
    return await asyncio.to_thread(offer, port, MESSAGE % path, rate=200, seconds=0.2, connections=connections)


async def test_answers_and_refusals_are_told_apart(port: int) -> None:
    seen = await offered(port, b"half")
    assert (seen.offered, len(seen.answered_ms), seen.refused, seen.lost) == (40, 20, 20, 0)
    assert 0 < seen.quantile(0.5) <= seen.quantile(0.99)
    assert seen.goodput <= 20 / 0.2


async def test_a_server_that_closes_after_an_answer_has_lost_nothing(port: int) -> None:
    seen = await offered(port, b"close", connections=40)
    assert (len(seen.answered_ms), seen.lost) == (40, 0)


async def test_a_cut_connection_is_a_lost_request(port: int) -> None:
    seen = await offered(port, b"cut")
    assert (len(seen.answered_ms), seen.lost, Answering.asked) == (0, 40, 40)


@pytest.mark.parametrize(("path", "body"), [("/whole", b"body"), ("/parts", b"4\r\npart\r\n" * 3 + b"0\r\n\r\n")])
async def test_a_client_reads_whole_answers(port: int, path: str, body: bytes) -> None:
    def twice() -> None:
        client = Client(port)
        for _ in range(2):
            answer = client.ask(message_of(Request(f"http://127.0.0.1:{port}{path}", b"x")))
            assert (answer.status, answer.body) == (200, body)
            assert 0 < answer.first_ms <= answer.ms
        client.close()

    await asyncio.to_thread(twice)
