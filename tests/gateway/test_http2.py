"""HTTP over HTTP/2 on the gateway's port, to replicas that speak HTTP/1.1; and clients that break HTTP/2."""

from __future__ import annotations

import asyncio
import json
import subprocess

import h2.config
import h2.connection
import h2.events
import pytest

from flambeau.gateway import http2_front, http2_link
from tests.fixtures.raw_http import WAIT_SECONDS_MAX
from tests.fixtures.waiting import until
from tests.gateway.conftest import NAME, World

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


class Client:
    """One connection of HTTP/2 that asks one thing at a time."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.h2 = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True))

    async def open(self) -> Client:
        self.reader, self.writer = await self.world.client.open()
        self.h2.initiate_connection()
        self.flush()
        return self

    def flush(self) -> None:
        self.writer.write(self.h2.data_to_send())

    def send(self, method: str, path: str, *, end: bool = True, **more: str) -> int:
        stream = self.h2.get_next_available_stream_id()
        headers = [(":method", method), (":scheme", "http"), (":path", path), (":authority", "m"), *more.items()]
        self.h2.send_headers(stream, headers, end_stream=end)
        self.flush()
        return stream

    async def answer(self, stream: int) -> tuple[dict[str, str], bytes]:
        """Return headers and body, or what the stream was reset with."""
        headers: dict[str, str] = {}
        body = b""
        async with asyncio.timeout(WAIT_SECONDS_MAX):
            while data := await self.reader.read(65536):
                for event in self.h2.receive_data(data):
                    if getattr(event, "stream_id", 0) != stream:
                        continue
                    if isinstance(event, h2.events.ResponseReceived):
                        headers = {name.decode(): value.decode() for name, value in event.headers}
                    elif isinstance(event, h2.events.DataReceived):
                        body += event.data
                        self.h2.acknowledge_received_data(event.flow_controlled_length, stream)
                    elif isinstance(event, h2.events.StreamReset):
                        return {"reset": str(int(event.error_code))}, body
                    elif isinstance(event, h2.events.StreamEnded):
                        self.flush()
                        return headers, body
                self.flush()
        raise AssertionError("the connection ended")


async def test_requests_reach_replicas_of_http1(world: World) -> None:
    world.serve((await world.echo()).endpoint)
    client = await Client(world).open()
    headers, body = await client.answer(client.send("GET", "/a?b=c", cookie="x=1"))
    said = json.loads(body)
    assert (headers[":status"], headers["content-type"], headers["x-from"]) == ("200", "application/json", "replica")
    assert "keep-alive" not in headers
    assert (said["method"], said["target"], said["headers"]["host"]) == ("GET", "/a?b=c", "m")
    stream = client.send("POST", "/", end=False)
    for _ in range(3):
        client.h2.send_data(stream, b"x" * 10_000)
    client.h2.end_stream(stream)
    client.flush()
    _, body = await client.answer(stream)
    assert (json.loads(body)["size"], json.loads(body)["headers"]["transfer-encoding"]) == (30_000, "chunked")
    assert (await client.answer(client.send("HEAD", "/")))[1] == b""
    assert (await client.answer(client.send("GET", "/nothing")))[0][":status"] == "204"


async def test_curl_with_prior_knowledge(world: World) -> None:
    world.serve((await world.echo()).endpoint)
    command = ["curl", "-s", "--http2-prior-knowledge", "-d", "hello", "-H", "Host: m", f"http://127.0.0.1:{world.port}/v1"]
    done = await asyncio.to_thread(subprocess.run, command, capture_output=True, timeout=20, check=True)
    assert (json.loads(done.stdout)["size"], json.loads(done.stdout)["target"]) == (5, "/v1")


async def test_errors_are_json(world: World) -> None:
    world.serve()
    client = await Client(world).open()
    headers, body = await client.answer(client.send("GET", "/"))
    assert (headers[":status"], headers["retry-after"]) == ("503", "1")
    assert json.loads(body)["error"] == "revision mnist-00001 has no ready pod"
    headers, body = await client.answer(client.send("GET", "/" + "x" * 9000))
    assert (headers[":status"], "8192 bytes" in body.decode()) == ("414", True)


async def test_an_early_answer_ends_the_request(world: World) -> None:
    world.serve((await world.echo()).endpoint)
    client = await Client(world).open()
    stream = client.send("POST", "/refuse", end=False)
    client.h2.send_data(stream, b"x")
    client.flush()
    headers, _ = await client.answer(stream)
    assert headers[":status"] == "413"
    headers, _ = await client.answer(client.send("GET", "/"))
    assert headers[":status"] == "200"


async def test_a_client_that_resets_or_leaves_cancels(world: World) -> None:
    replica = await world.echo()
    world.serve(replica.endpoint)
    client = await Client(world).open()
    streams = [client.send("GET", "/hang") for _ in range(2)]
    await until(lambda: len(replica.exchanges) == 2)
    client.h2.reset_stream(streams[0])
    client.flush()
    await until(lambda: sum(exchange.aborted.is_set() for exchange in replica.exchanges) == 1)
    client.writer.transport.abort()
    await until(lambda: all(exchange.aborted.is_set() for exchange in replica.exchanges))
    assert world.gateway.services[NAME].present == 0


async def test_a_reset_that_is_read_together_with_what_it_ends_costs_only_its_stream(world: World) -> None:
    world.serve((await world.echo()).endpoint)
    client = await Client(world).open()
    await client.answer(client.send("GET", "/"))  # their settings are known from here on
    stream = client.h2.get_next_available_stream_id()
    client.h2.send_headers(stream, [(":method", "POST"), (":scheme", "http"), (":path", "/hang"), (":authority", "m")])
    for _ in range(9):
        client.h2.send_data(stream, b"x" * 16_000)  # over half a window, which is opened again
    client.h2.reset_stream(stream)
    headers, _ = await client.answer(client.send("GET", "/"))
    assert headers[":status"] == "200"


async def test_a_connection_without_requests_ends(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http2_front, "IDLE_SECONDS_MAX", 0.2)
    world.serve((await world.echo()).endpoint)
    client = await Client(world).open()
    await client.answer(client.send("GET", "/"))
    events: list[h2.events.Event] = []
    while data := await asyncio.wait_for(client.reader.read(65536), WAIT_SECONDS_MAX):
        events += client.h2.receive_data(data)
    assert [type(event) for event in events][-1] is h2.events.ConnectionTerminated


async def test_clients_are_told_how_many_streams_they_may_open(world: World) -> None:
    replica = await world.echo()
    world.serve(replica.endpoint)
    client = await Client(world).open()
    await client.answer(client.send("GET", "/"))
    assert client.h2.remote_settings.max_concurrent_streams == http2_link.STREAMS_MAX


async def test_broken_http2_ends_the_connection_only(world: World) -> None:
    world.serve((await world.echo()).endpoint)
    for junk in (b"GET / HTTP/1.1\r\nHost: m\r\n\r\n", b"\x00" * 100, b"\x00\x00\x01\x00\x00\x00\x00\x00\x05x"):
        reader, writer = await world.client.open()
        writer.write(PREFACE + junk)
        assert await asyncio.wait_for(reader.read(), WAIT_SECONDS_MAX)
    assert (await world.client.ask(b"GET / HTTP/1.1\r\nHost: m\r\n\r\n")).status == 200


async def test_a_client_that_only_writes_is_not_listened_to(world: World) -> None:
    world.serve((await world.echo()).endpoint)
    _, writer = await world.client.open()
    writer.write(PREFACE + b"\x00\x00\x00\x04\x00\x00\x00\x00\x00")
    ping = b"\x00\x00\x08\x06\x00\x00\x00\x00\x00" + b"12345678"
    sent = 0
    try:
        async with asyncio.timeout(20):
            while sent < 60_000_000:
                writer.write(ping * 10_000)
                sent += 10_000 * len(ping)
                async with asyncio.timeout(1):
                    await writer.drain()
    except (TimeoutError, ConnectionError):
        pass
    assert sent < 60_000_000
    writer.transport.abort()
