"""The load generator against servers of ours and against misbehaving ones, on loopback."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import uvloop

from flambeau.foundation.errors import Unavailable
from flambeau.foundation.http1 import Connection, Exchange, Head, Server
from flambeau.programs.bench.figures import Level
from flambeau.programs.bench.load import Load, message_of
from flambeau.programs.bench.question import Body, Form, Question
from tests.fixtures.certificates import make_certificate

Script = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
BODIES = (Body("a", b"first", "text/plain", Form.RAW), Body("b", b"second", "text/plain", Form.RAW))
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def pytest_asyncio_loop_factories(config: pytest.Config, item: pytest.Item) -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    return {"uvloop": uvloop.new_event_loop}


class Counting:
    """Answer every request, some with an error; remember what came."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        self.begun: set[Connection] = set()

    def __call__(self, head: Head, connection: Connection) -> Exchange:
        self.begun.add(connection)
        return _Exchange(self, head, connection)


class _Exchange:
    def __init__(self, owner: Counting, head: Head, connection: Connection) -> None:
        self.owner = owner
        self.head = head
        self.connection = connection
        self.body = b""

    def on_body(self, data: bytes) -> None:
        self.body += data

    def on_end(self) -> None:
        self.owner.bodies.append(self.body)
        if self.head.path == b"/fail" and len(self.owner.bodies) % 2:
            self.connection.respond(503, [(b"content-type", b"application/json")], b'{"message": "the queue is full"}')
            return
        times = [(b"server-timing", b"server;dur=0.01, worker;dur=0.01"), (b"server-timing", b'batch;desc="3"')]
        self.connection.respond(200, times if self.head.get(b"x-flambeau-timing") else [], b"ok")

    def on_abort(self) -> None: ...
    def on_writable(self, writable: bool) -> None: ...


@asynccontextmanager
async def counting() -> AsyncIterator[tuple[Counting, str]]:
    application = Counting()
    server = Server(application)
    await server.start(host="127.0.0.1", port=0)
    try:
        host, port = server.addresses[0]
        yield application, f"http://{host}:{port}"
    finally:
        await server.close()


@asynccontextmanager
async def scripted(script: Script) -> AsyncIterator[str]:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await script(reader, writer)
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()


async def loaded(
    url: str, level: Level, *, seconds: float = 0.2, timed: bool = False, timeout_seconds: float = 5.0, bodies: tuple[Body, ...] = BODIES
) -> Load:
    load = Load(Question(url, bodies), level.connections, timeout_seconds=timeout_seconds, timed=timed)
    try:
        await load.open()
        await load.run(level, warm_seconds=0.02, seconds=seconds, stop=asyncio.Event())
    finally:
        await load.close()
    assert not load._tasks
    return load


async def test_each_connection_asks_again_when_it_has_an_answer() -> None:
    async with counting() as (application, url):
        level = Level(3)
        load = await loaded(url, level)
        assert len(application.begun) == 3
        assert set(application.bodies) == {b"first", b"second"}
        assert level.latencies.count > 30
        assert level.throughput == pytest.approx(level.latencies.count / level.seconds)
        assert (level.failed, level.unsent, level.interrupted, load.split.count) == (0, 0, False, 0)
        assert 0 < level.client_share <= 1.5


async def test_what_stations_tell_is_split() -> None:
    async with counting() as (_, url):
        load = await loaded(url, Level(1), timed=True)
        assert load.split.count > 10
        assert load.split.batch == 3
        assert load.split.means()["link"] == pytest.approx(0.00001)


async def test_errors_are_counted_by_status_with_the_first_message() -> None:
    async with counting() as (_, url):
        level = Level(2)
        await loaded(f"{url}/fail", level)
        assert set(level.failures) == {"503"}
        assert level.failures["503"].message == "the queue is full"
        assert abs(level.failed - level.latencies.count) <= 2


async def test_a_schedule_is_kept_and_latency_counts_from_when_a_request_was_due() -> None:
    busy_seconds = 0.1

    async def one_at_a_time(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await reader.readexactly(len(Question(url, BODIES[:1]).messages(timed=False)[0]))
            await asyncio.sleep(busy_seconds)
            writer.write(OK)

    async with scripted(one_at_a_time) as url:
        level = Level(1, rate=100.0)
        await loaded(url, level, seconds=0.6, bodies=BODIES[:1])
    # Ten a second are answered of a hundred: each waits longer than the one before, which a closed loop would not show.
    assert 2 <= level.latencies.count <= 7
    assert level.latencies.quantile(1.0) > 2 * busy_seconds
    assert level.unsent > 30


async def test_a_schedule_that_the_server_can_keep_up_with() -> None:
    async with counting() as (application, url):
        level = Level(4, rate=500.0)
        await loaded(url, level, seconds=0.4)
        assert len(application.bodies) <= 250  # by the schedule, not as fast as it goes
        assert level.latencies.count >= 100
        assert level.unsent < 100


async def test_stopping_keeps_what_there_is() -> None:
    async with counting() as (_, url):
        level, stop = Level(2), asyncio.Event()
        load = Load(Question(url, BODIES), 2, timeout_seconds=5)
        try:
            await load.open()
            asyncio.get_running_loop().call_later(0.2, stop.set)
            await load.run(level, warm_seconds=0.0, seconds=60, stop=stop)
        finally:
            await load.close()
        assert level.interrupted
        assert level.latencies.count > 0
        assert level.seconds < 30


async def test_connections_that_end_are_failures_and_are_replaced() -> None:
    async def dies(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")

    async with scripted(dies) as url:
        level = Level(1)
        await loaded(url, level, seconds=0.3)
    assert level.failures["no answer"].count >= 2
    assert "closed the connection" in level.failures["no answer"].message


async def test_connections_that_the_server_closes_after_an_answer_are_no_failures() -> None:
    async def once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(len(Question(url, BODIES[:1]).messages(timed=False)[0]))
        writer.write(OK.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))

    async with scripted(once) as url:
        level = Level(1)
        await loaded(url, level, bodies=BODIES[:1])
    assert level.latencies.count > 5
    assert not level.failures


async def test_answers_that_do_not_come_are_failures() -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(-1)

    async with scripted(silent) as url:
        level = Level(2)
        await loaded(url, level, seconds=0.5, timeout_seconds=0.1)
    assert level.failures["no answer"].message == "no answer within 0.1 s"


async def test_what_is_no_http_is_a_failure() -> None:
    async def odd(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"220 smtp ready\r\n")
        await reader.read(-1)

    async with scripted(odd) as url:
        level = Level(1)
        await loaded(url, level)
    assert "the answer is not HTTP/1.1" in level.failures["no answer"].message


async def test_nobody_there() -> None:
    async def leaves(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None: ...

    async with scripted(leaves) as url:
        pass
    load = Load(Question(url, BODIES), 1, timeout_seconds=1)
    with pytest.raises(Unavailable, match=r"cannot connect to 127\.0\.0\.1:"):
        await load.open()
    await load.close()


async def test_https_with_a_certificate_of_ones_own(tmp_path: Path) -> None:
    files = make_certificate(tmp_path)
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(files.certificate, files.key)
    server = Server(Counting())
    host, port = await server.start(host="127.0.0.1", port=0, ssl=tls)
    try:
        question, level = Question(f"https://{host}:{port}", BODIES), Level(2)
        load = Load(question, 2, timeout_seconds=5, tls=ssl.create_default_context(cafile=files.certificate))
        await load.open()
        await load.run(level, warm_seconds=0.02, seconds=0.2, stop=asyncio.Event())
        await load.close()
        assert level.latencies.count > 0
        load = Load(question, 1, timeout_seconds=5, tls=ssl.create_default_context())
        with pytest.raises(Unavailable, match="certificate verify failed"):
            await load.open()
        await load.close()
    finally:
        await server.close()


@pytest.mark.parametrize(
    ("body", "message"),
    [(b'{"message": "a\\nb"}', "a b"), (b'{"error": "c"}', "c"), (b"<p>no</p>", "<p>no</p>"), (b"", ""), (b"\xff" * 999, "\ufffd" * 300)],
)
def test_the_message_of_an_error(body: bytes, message: str) -> None:
    assert message_of(body) == message
