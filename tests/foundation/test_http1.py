"""Raw sockets against the server core: what a real client, a slow one and a hostile one see."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from flambeau.foundation.errors import Unavailable
from flambeau.foundation.http1 import Connection, Head, Limits, Server
from tests.fixtures.raw_http import RawClient, read_answer
from tests.fixtures.waiting import until

JSON = [(b"content-type", b"application/json")]
QUICK = Limits(head_seconds=0.2, idle_seconds=0.4, body_idle_seconds=0.3, linger_seconds=0.4)


class Recorder:
    """An exchange that writes down what happens and answers as its path says."""

    def __init__(self, head: Head, connection: Connection, log: list[Recorder]) -> None:
        self.head = head
        self.connection = connection
        self.body = b""
        self.pieces = 0
        self.ended = asyncio.Event()
        self.aborted = asyncio.Event()
        self.writable = True
        self.writable_again = asyncio.Event()
        log.append(self)

    def on_body(self, data: bytes) -> None:
        self.body += data
        self.pieces += 1

    def on_end(self) -> None:
        self.ended.set()
        if self.head.path == b"/raise":
            raise RuntimeError("a defect")
        if self.head.path == b"/stream":
            self.connection.start(200, JSON, None)
            self.connection.write(b"one")
            self.connection.write(b"")
            self.connection.write(b"two")
            self.connection.finish()
        elif self.head.path == b"/later":
            asyncio.get_running_loop().call_later(0.02, self.answer)
        elif self.head.path == b"/nothing":
            self.connection.respond(204, [], b"")
        elif self.head.path != b"/hang":
            self.answer()

    def answer(self) -> None:
        head = self.head
        said = {"method": head.method, "target": head.target.decode(), "host": head.host, "length": len(self.body)}
        self.connection.respond(200, JSON, json.dumps(said).encode())

    def on_abort(self) -> None:
        self.aborted.set()

    def on_writable(self, writable: bool) -> None:
        self.writable = writable
        if writable:
            self.writable_again.set()


class Running:
    """A server on a free port, and the exchanges it has had."""

    def __init__(self, limits: Limits, application: Callable[[Head, Connection], Recorder] | None = None) -> None:
        self.exchanges: list[Recorder] = []
        self.server = Server(application or (lambda head, connection: Recorder(head, connection, self.exchanges)), limits)
        self.port = 0

    async def start(self) -> Running:
        _, self.port = await self.server.start(host="127.0.0.1", port=0)
        self.client = RawClient(self.port)
        return self

    async def open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await self.client.open()

    async def exchange(self, number: int = 0) -> Recorder:
        await until(lambda: len(self.exchanges) > number)
        return self.exchanges[number]

    async def ask(self, request: bytes) -> bytes:
        """Send bytes and return everything until the server closes."""
        reader, writer = await self.open()
        writer.write(request)
        async with asyncio.timeout(5):
            return await reader.read()

    async def close(self) -> None:
        await self.server.close()
        await self.client.close()


@contextlib.asynccontextmanager
async def running(limits: Limits = QUICK, application: Callable[[Head, Connection], Recorder] | None = None) -> AsyncIterator[Running]:
    here = await Running(limits, application).start()
    try:
        yield here
    finally:
        await here.close()
        assert here.server.connections == 0


REFUSALS = {
    "two lengths": (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd", 400),
    "length and chunked": (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    "chunked and length": (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n", 400),
    "length not a number": (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +3\r\n\r\nabc", 400),
    "length too long": (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999999\r\n\r\n", 400),
    "gzip coding": (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n", 400),
    "gzip, chunked coding": (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 400),
    "almost chunked": (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", 400),
    "chunked twice": (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    "chunked on 1.0": (b"POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    "bad chunk": (b"POST /hang HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 400),
    "bare LF in a chunk": (b"POST /hang HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\nabc\n0\n\n", 400),
    "endless trailer": (b"POST /hang HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: " + b"a" * 70000, 431),
    "no host": (b"GET / HTTP/1.1\r\n\r\n", 400),
    "two hosts": (b"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400),
    "host with a path": (b"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", 400),
    "host with a user": (b"GET / HTTP/1.1\r\nHost: u@b\r\n\r\n", 400),
    "bare LF": (b"GET / HTTP/1.1\nHost: a\n\n", 400),
    "bare LF in a header": (b"GET / HTTP/1.1\r\nHost: a\nX: b\r\n\r\n", 400),
    "folded header": (b"GET / HTTP/1.1\r\nHost: a\r\nX: b\r\n c\r\n\r\n", 400),
    "space before the colon": (b"GET / HTTP/1.1\r\nHost : a\r\n\r\n", 400),
    "NUL": (b"GET / HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n", 400),
    "no version": (b"GET /\r\n\r\n", 400),
    "another protocol": (b"GET / RTSP/1.0\r\nHost: a\r\n\r\n", 400),
    "HTTP 0.9": (b"GET / HTTP/0.9\r\nHost: a\r\n\r\n", 505),
    "HTTP 2 in the line": (b"GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505),
    "HTTP/2 preface": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
    "CONNECT": (b"CONNECT a:80 HTTP/1.1\r\nHost: a\r\n\r\n", 405),
    "unknown method": (b"FROB / HTTP/1.1\r\nHost: a\r\n\r\n", 501),
    "lower-case method": (b"get / HTTP/1.1\r\nHost: a\r\n\r\n", 501),
    "TLS": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
    "fragment": (b"GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "target without slash": (b"GET a HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "long target": (b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\nHost: a\r\n\r\n", 414),
    "long target, unfinished": (b"GET /" + b"a" * 9000, 414),
    "large head": (b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"a" * 70000 + b"\r\n\r\n", 431),
    "large head, unfinished": (b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"a" * 70000, 431),
    "many headers": (b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: 1\r\n" * 128 + b"\r\n", 431),
    "another expectation": (b"POST / HTTP/1.1\r\nHost: a\r\nExpect: wonders\r\nContent-Length: 1\r\n\r\n", 417),
}


@pytest.mark.parametrize("name", REFUSALS)
async def test_refusal_is_answered_in_json_and_closes(name: str) -> None:
    request, status = REFUSALS[name]
    async with running() as here:
        answer = await here.ask(request)
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 %d " % status), answer[:200]
    assert b"connection: close" in head
    assert list(json.loads(body)) == ["error"]
    assert answer.count(b"HTTP/1.1") - body.count(b"HTTP/1.1") == 1
    assert all(exchange.aborted.is_set() for exchange in here.exchanges)


async def test_keeps_the_connection_between_requests() -> None:
    async with running() as here:
        reader, writer = await here.open()
        for number in range(3):
            writer.write(b"POST /%d?a=b HTTP/1.1\r\nHost: M.Example:80\r\nContent-Length: 3\r\n\r\nabc" % number)
            status, headers, body = await read_answer(reader)
            assert status == 200
            assert headers["server"] == "flambeau"
            assert headers["date"].endswith(" GMT")
            assert json.loads(body) == {"method": "POST", "target": f"/{number}?a=b", "host": "m.example", "length": 3}
        head = here.exchanges[0].head
        assert (head.path, head.query, head.content_length) == (b"/0", b"a=b", 3)
        assert head.get(b"host") == b"M.Example:80"
        assert head.get(b"absent") is None
        assert here.exchanges[0].connection.peer == "127.0.0.1"


async def test_every_split_of_a_request_reads_the_same() -> None:
    request = b"POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n2\r\nde\r\n0\r\nT: u\r\n\r\n"
    async with running(Limits()) as here:
        reader, writer = await here.open()
        for position in range(1, len(request)):
            writer.write(request[:position])
            await writer.drain()
            await asyncio.sleep(0)
            writer.write(request[position:])
            status, _, body = await read_answer(reader)
            assert (status, json.loads(body)["length"]) == (200, 5)


async def test_pipelined_requests_are_answered_one_at_a_time_in_order() -> None:
    async with running() as here:
        reader, writer = await here.open()
        first = b"POST /later HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi"
        writer.write(first + b"\r\nGET /1 HTTP/1.1\r\nHost: a\r\n\r\nGET /later HTTP/1.1\r\nHost: a\r\n\r\nGET /3 HTTP/1.1\r\nHo")
        targets = [json.loads((await read_answer(reader))[2])["target"] for _ in range(3)]
        writer.write(b"st: a\r\n\r\n")
        targets.append(json.loads((await read_answer(reader))[2])["target"])
        assert targets == ["/later", "/1", "/later", "/3"]


async def test_thousands_of_pipelined_requests_do_not_recurse() -> None:
    async with running() as here:
        reader, writer = await here.open()
        writer.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n" * 3000)
        for _ in range(3000):
            assert (await read_answer(reader))[0] == 200


async def test_a_client_that_reads_nothing_is_not_worked_for() -> None:
    async with running() as here:
        reader, writer = await here.open()
        writer.write(b"GET /" + b"a" * 8000 + b" HTTP/1.1\r\nHost: a\r\n\r\n")
        await read_answer(reader)
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        for _ in range(4000):
            writer.write(b"GET /" + b"a" * 8000 + b" HTTP/1.1\r\nHost: a\r\n\r\n")
        await until(lambda: not here.server.connections, seconds=6)
        assert len(here.exchanges) < 3000
        writer.transport.abort()


async def test_pipelining_behind_chunks_ends_the_connection_after_the_answer() -> None:
    request = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\n"
    async with running() as here:
        answer = await here.ask(request)
        assert answer.startswith(b"HTTP/1.1 200")
        assert b"connection: close" in answer
        assert len(here.exchanges) == 1


async def test_streams_in_chunks_or_until_close_by_version() -> None:
    async with running() as here:
        reader, writer = await here.open()
        writer.write(b"GET /stream HTTP/1.1\r\nHost: a\r\n\r\n")
        assert (await read_answer(reader))[2] == b"onetwo"
        old = await here.ask(b"GET /stream HTTP/1.0\r\n\r\n")
        assert old.endswith(b"\r\n\r\nonetwo")
        assert b"chunked" not in old
        assert here.exchanges[1].head.host == ""


async def test_http_1_0_keeps_alive_only_if_asked() -> None:
    async with running() as here:
        assert b"connection: close" in await here.ask(b"GET / HTTP/1.0\r\nHost: a\r\n\r\n")
        reader, writer = await here.open()
        for _ in range(2):
            writer.write(b"GET / HTTP/1.0\r\nHost: a\r\nConnection: Keep-Alive\r\n\r\n")
            assert (await read_answer(reader))[1]["connection"] == "keep-alive"


async def test_head_and_204_have_no_body() -> None:
    async with running() as here:
        answer = await here.ask(b"HEAD / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        assert answer.endswith(b"\r\n\r\n")
        assert b"content-length: 0" not in answer
        answer = await here.ask(b"HEAD /stream HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        assert answer.endswith(b"\r\n\r\n")
        answer = await here.ask(b"GET /nothing HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 204 No Content")
        assert b"content-length" not in answer


async def test_absolute_target_names_the_host() -> None:
    async with running() as here:
        answer = await here.ask(b"GET http://Other.example:8000?q HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        said = json.loads(answer.partition(b"\r\n\r\n")[2])
        assert (said["host"], said["target"]) == ("other.example", "/?q")
        assert here.exchanges[0].head.get(b"host") == b"Other.example:8000"
        await here.ask(b"OPTIONS * HTTP/1.1\r\nHost: [::1]:80\r\nConnection: close\r\n\r\n")
        assert (here.exchanges[1].head.path, here.exchanges[1].head.host) == (b"*", "[::1]")


async def test_upgrade_offers_are_ignored_and_the_body_is_read() -> None:
    offer = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n"
    async with running() as here:
        reader, writer = await here.open()
        for body in (b"Content-Length: 5\r\n\r\nhello", b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"):
            writer.write(b"POST / HTTP/1.1\r\nHost: a\r\n" + offer + body)
            assert json.loads((await read_answer(reader))[2])["length"] == 5


async def test_continue_is_said_once_the_body_is_wanted() -> None:
    expecting = b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n"
    async with running() as here:
        reader, writer = await here.open()
        writer.write(expecting)
        assert await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5) == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(b"hi")
        assert (await read_answer(reader))[0] == 200
        writer.write(expecting + b"hi")  # a client that doesn't wait isn't told
        assert (await read_answer(reader))[0] == 200


async def test_continue_waits_for_resume_reading() -> None:
    log: list[Recorder] = []

    def application(head: Head, connection: Connection) -> Recorder:
        connection.pause_reading()
        return Recorder(head, connection, log)

    async with running(application=application) as here:
        reader, writer = await here.open()
        writer.write(b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(reader.read(1), 0.1)
        log[0].connection.resume_reading()
        assert (await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)).startswith(b"HTTP/1.1 100")
        writer.write(b"hi")
        assert (await read_answer(reader))[0] == 200


def refusing(status: int) -> Callable[[Head, Connection], Recorder]:
    def application(head: Head, connection: Connection) -> Recorder:
        connection.respond(status, JSON, b"{}")
        return Recorder(head, connection, [])

    return application


async def test_early_answer_to_an_expecting_client_replaces_the_continue() -> None:
    async with running(application=refusing(413)) as here:
        answer = await here.ask(b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 413")
        assert b"connection: close" in answer


async def test_early_answer_keeps_the_connection_when_little_is_left() -> None:
    async with running(application=refusing(404)) as here:
        reader, writer = await here.open()
        for _ in range(2):
            writer.write(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nab")
            status, headers, _ = await read_answer(reader)
            assert (status, "connection" in headers) == (404, False)
            writer.write(b"cde")


async def test_early_answer_reaches_a_client_that_goes_on_sending() -> None:
    async with running(application=refusing(413)) as here:
        reader, writer = await here.open()
        writer.write(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 50000000\r\n\r\n")
        with contextlib.suppress(ConnectionError):
            for _ in range(50):
                writer.write(b"a" * 100_000)
                await writer.drain()
        status, headers, _ = await read_answer(reader)
        assert (status, headers["connection"]) == (413, "close")


async def test_slow_head_is_answered_408() -> None:
    async with running() as here:
        answer = await here.ask(b"GET / HTTP/1.1\r\nHost:")
        assert answer.startswith(b"HTTP/1.1 408")
        assert json.loads(answer.partition(b"\r\n\r\n")[2])["error"]


async def test_stalled_body_is_answered_408_and_the_exchange_told() -> None:
    async with running() as here:
        answer = await here.ask(b"POST /hang HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nab")
        assert answer.startswith(b"HTTP/1.1 408")
        assert here.exchanges[0].aborted.is_set()


async def test_idle_connection_is_closed_without_a_word() -> None:
    async with running() as here:
        assert await here.ask(b"") == b""


async def test_a_running_exchange_has_no_deadline_of_ours() -> None:
    async with running() as here:
        reader, writer = await here.open()
        writer.write(b"GET /hang HTTP/1.1\r\nHost: a\r\n\r\n")
        exchange = await here.exchange()
        await asyncio.sleep(1.0)  # over every limit of QUICK
        exchange.answer()
        assert (await read_answer(reader))[0] == 200


async def test_paused_body_waits_in_the_kernel() -> None:
    log: list[Recorder] = []

    def application(head: Head, connection: Connection) -> Recorder:
        exchange = Recorder(head, connection, log)
        connection.pause_reading()
        return exchange

    size = 20_000_000
    async with running(application=application) as here:
        reader, writer = await here.open()
        writer.write(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % size)
        sending = asyncio.ensure_future(_send(writer, size))
        await asyncio.sleep(0.6)  # longer than body_idle_seconds: a pause of the application's is not the client's fault
        assert len(log[0].body) <= 262144
        assert not sending.done()
        log[0].connection.resume_reading()
        assert json.loads((await read_answer(reader))[2])["length"] == size
        await sending


async def _send(writer: asyncio.StreamWriter, size: int) -> None:
    for _ in range(size // 100_000):
        writer.write(b"a" * 100_000)
        await writer.drain()


async def test_slow_reader_makes_the_application_pause() -> None:
    async with running(Limits(write_buffer_bytes=65536)) as here:
        reader, writer = await here.open()
        writer.write(b"GET /hang HTTP/1.1\r\nHost: a\r\n\r\n")
        exchange = await here.exchange()
        exchange.connection.start(200, JSON, None)
        written = 0
        async with asyncio.timeout(5):
            while exchange.writable:
                exchange.connection.write(b"a" * 65536)
                written += 65536
                await asyncio.sleep(0)
        assert written < 20_000_000
        reading = asyncio.ensure_future(read_answer(reader))
        await asyncio.wait_for(exchange.writable_again.wait(), 5)
        exchange.connection.finish()
        assert len((await reading)[2]) == written


async def test_client_that_never_reads_is_cut() -> None:
    async with running() as here:
        _, writer = await here.open()
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        writer.write(b"GET /hang HTTP/1.1\r\nHost: a\r\n\r\n")
        exchange = await here.exchange()
        exchange.connection.start(200, JSON, 50_000_000)
        exchange.connection.write(b"a" * 50_000_000)
        await asyncio.wait_for(exchange.aborted.wait(), 5)
        writer.transport.abort()


async def test_client_abort_is_told_once_and_late_answers_are_dropped() -> None:
    async with running() as here:
        _, writer = await here.open()
        writer.write(b"POST /hang HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nab")
        exchange = await here.exchange()
        writer.transport.abort()
        await asyncio.wait_for(exchange.aborted.wait(), 5)
        exchange.answer()
        exchange.connection.start(200, [], 3)
        exchange.connection.write(b"abc")
        exchange.connection.finish()
        _, writer = await here.open()
        writer.write(b"GET /hang HTTP/1.1\r\nHost: a\r\n\r\n")
        exchange = await here.exchange(1)
        writer.close()
        await asyncio.wait_for(exchange.aborted.wait(), 5)


async def test_a_request_and_its_eof_together_are_answered() -> None:
    async with running() as here:
        with socket.create_connection(("127.0.0.1", here.port)) as client:
            client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            client.shutdown(socket.SHUT_WR)
            client.setblocking(False)
            answer = await asyncio.wait_for(asyncio.get_running_loop().sock_recv(client, 65536), 5)
        assert answer.startswith(b"HTTP/1.1 200")


async def test_misuse_raises() -> None:
    async with running() as here:
        _, writer = await here.open()
        writer.write(b"GET /hang HTTP/1.1\r\nHost: a\r\n\r\n")
        exchange = await here.exchange()
        connection = exchange.connection
        with pytest.raises(RuntimeError):
            connection.write(b"a")
        with pytest.raises(ValueError, match="line break"):
            connection.respond(200, [(b"x", b"a\r\nset-cookie: b")], b"")
        with pytest.raises(ValueError, match="phrase holds a line break"):
            connection.respond(200, [], b"", b"OK\r\nset-cookie: b")
        connection.start(200, [], 3)
        with pytest.raises(RuntimeError):
            connection.respond(200, [], b"")
        with pytest.raises(RuntimeError, match="1 bytes longer"):
            connection.write(b"abcd")


async def test_answer_shorter_than_announced_is_cut() -> None:
    async with running() as here:
        reader, writer = await here.open()
        writer.write(b"GET /hang HTTP/1.1\r\nHost: a\r\n\r\n")
        exchange = await here.exchange()
        exchange.connection.start(200, [], 3)
        exchange.connection.write(b"ab")
        exchange.connection.finish()
        with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
            await read_answer(reader)
        assert not exchange.aborted.is_set()


async def test_a_defect_of_the_application_is_a_500(caplog: pytest.LogCaptureFixture) -> None:
    async with running() as here:
        answer = await here.ask(b"GET /raise HTTP/1.1\r\nHost: a\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 500")
        assert b"a defect" not in answer
        assert "a defect" in caplog.text


async def test_connections_over_the_limit_get_503() -> None:
    async with running(Limits(connections_max=1)) as here:
        reader, writer = await here.open()
        writer.write(b"GET /later HTTP/1.1\r\nHost: a\r\n\r\n")
        await here.exchange()
        assert (await here.ask(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")).startswith(b"HTTP/1.1 503")
        assert (await read_answer(reader))[0] == 200


async def test_drain_finishes_what_runs_and_closes_what_is_idle() -> None:
    async with running(Limits()) as here:
        idle_reader, _ = await here.open()
        reader, writer = await here.open()
        late_reader, late_writer = await here.open()
        writer.write(b"GET /hang HTTP/1.1\r\nHost: a\r\n\r\n")
        exchange = await here.exchange()
        late_writer.write(b"GET /late HTTP/1.1\r\n")
        await until(lambda: any(connection._held for connection in here.server._connections))
        draining = asyncio.ensure_future(here.server.drain(5))
        assert await asyncio.wait_for(idle_reader.read(), 5) == b""
        with pytest.raises(ConnectionRefusedError):
            await here.open()
        late_writer.write(b"Host: a\r\n\r\n")
        assert (await read_answer(late_reader))[1]["connection"] == "close"
        assert not draining.done()
        exchange.answer()
        status, headers, _ = await read_answer(reader)
        assert (status, headers["connection"]) == (200, "close")
        await asyncio.wait_for(draining, 5)


async def test_a_request_that_was_on_its_way_when_a_drain_began_is_answered_for_the_last_time() -> None:
    async with running(Limits()) as here:
        reader, writer = await here.open()
        for connection, path in (("", b"/first"), ("close", b"/last")):
            if connection:
                draining = asyncio.ensure_future(here.server.drain(5))
                await asyncio.sleep(0)
            writer.write(b"GET %b HTTP/1.1\r\nHost: a\r\n\r\n" % path)
            status, headers, _ = await read_answer(reader)
            assert (status, headers.get("connection", "")) == (200, connection)
        await asyncio.wait_for(draining, 5)


async def test_drain_is_bounded() -> None:
    async with running(Limits()) as here:
        _, writer = await here.open()
        writer.write(b"GET /hang HTTP/1.1\r\nHost: a\r\n\r\n")
        exchange = await here.exchange()
        await asyncio.wait_for(here.server.drain(0.1), 2)
        assert exchange.aborted.is_set()


async def test_unix_socket_is_private_and_replaced_only_when_dead(tmp_path: Path) -> None:
    path = tmp_path / "a.sock"
    async with running() as here:
        await here.server.start_unix(path)
        assert path.stat().st_mode & 0o777 == 0o600
        reader, writer = await asyncio.open_unix_connection(str(path))
        here.client.writers.append(writer)
        writer.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert (await read_answer(reader))[0] == 200
        assert here.exchanges[0].connection.peer == ""
        other = Server(lambda head, connection: Recorder(head, connection, []))
        with pytest.raises(Unavailable, match="in use"):
            await other.start_unix(path)
        await other.close()
    assert not path.exists()
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    async with running() as here:
        await here.server.start_unix(path)


async def test_a_port_in_use_is_told() -> None:
    async with running() as here:
        assert here.server.addresses == [("127.0.0.1", here.port)]
        other = Server(lambda head, connection: Recorder(head, connection, []))
        with pytest.raises(Unavailable) as told:
            await other.start(host="127.0.0.1", port=here.port)
        assert told.value.reason == "AddressInUse"
        assert str(here.port) in told.value.message
        await other.close()
