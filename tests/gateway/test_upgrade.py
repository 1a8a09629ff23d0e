"""WebSocket and other upgrades of HTTP/1.1: a replica's 101 makes a tunnel; bytes pass as they are, both ways."""

from __future__ import annotations

import asyncio

import h2.events
import pytest

from tests.fixtures.raw_http import WAIT_SECONDS_MAX, read_answer
from tests.fixtures.waiting import until
from tests.gateway.conftest import NAME, World
from tests.gateway.test_http2 import Client

ASK = (
    b"GET /chat?x=1 HTTP/1.1\r\nHost: m\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
AGREE = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
)
OVER_KERNEL_BUFFERS = 80_000_000


class Chat:
    """A replica that agrees to every upgrade, greets, and sends back what it gets."""

    def __init__(self) -> None:
        self.asked = b""
        self.ended = asyncio.Event()

    async def script(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.asked = await reader.readuntil(b"\r\n\r\n")
        writer.write(AGREE + b"hello ")
        while data := await reader.read(65536):
            if data == b"bye":
                break
            writer.write(data)
            await writer.drain()
        self.ended.set()


async def open_chat(world: World) -> tuple[asyncio.StreamReader, asyncio.StreamWriter, dict[str, str]]:
    reader, writer = await world.client.open()
    writer.write(ASK)
    answer = await read_answer(reader, head_only=True)
    assert answer.status == 101, answer
    return reader, writer, answer.headers


async def test_bytes_pass_both_ways(world: World) -> None:
    chat = Chat()
    world.serve(await world.scripted(chat.script))
    reader, writer, headers = await open_chat(world)
    assert (headers["upgrade"], headers["connection"]) == ("websocket", "Upgrade")
    assert headers["sec-websocket-accept"] == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
    assert b"GET /chat?x=1 HTTP/1.1\r\n" in chat.asked
    assert b"\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" in chat.asked
    assert await reader.readexactly(6) == b"hello "
    for message in (b"\x81\x85\x00\x00\x00\x00first", b"GET / HTTP/1.1\r\n\r\n", b"\x00" * 100_000):
        writer.write(message)
        assert await reader.readexactly(len(message)) == message
    service = world.gateway.services[NAME]
    assert (service.in_flight, service.present) == (1, 1)
    writer.close()
    async with asyncio.timeout(WAIT_SECONDS_MAX):
        await chat.ended.wait()
    await until(lambda: service.present == 0 and service.in_flight == 0)
    assert service.numbers.by_class[1] == 1


async def test_the_last_bytes_of_either_side_arrive(world: World) -> None:
    chat = Chat()
    world.serve(await world.scripted(chat.script))
    reader, writer, _ = await open_chat(world)
    writer.write(b"bye")
    assert await asyncio.wait_for(reader.read(), WAIT_SECONDS_MAX) == b"hello "
    assert chat.ended.is_set()

    got = bytearray()

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(AGREE)
        got.extend(await reader.read(-1))

    world.serve(await world.scripted(listen))
    _, writer, _ = await open_chat(world)
    writer.write(b"x" * 3_000_000)
    await writer.drain()
    writer.close()
    await until(lambda: len(got) == 3_000_000)


async def test_what_a_client_sends_too_early_waits_for_the_tunnel(world: World) -> None:
    chat = Chat()
    world.serve(await world.scripted(chat.script))
    reader, writer = await world.client.open()
    writer.write(ASK + b"early")
    assert (await read_answer(reader, head_only=True)).status == 101
    assert await asyncio.wait_for(reader.readexactly(11), WAIT_SECONDS_MAX) == b"hello early"


async def test_a_slow_reader_pauses_the_other_side(world: World) -> None:
    sent = 0

    async def pour(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        await reader.readuntil(b"\r\n\r\n")
        writer.write(AGREE)
        while sent < OVER_KERNEL_BUFFERS:
            writer.write(b"x" * 1_000_000)
            await writer.drain()
            sent += 1_000_000

    world.serve(await world.scripted(pour))
    reader, _, _ = await open_chat(world)
    before = -1
    while before != sent:
        before = sent
        await asyncio.sleep(0.1)
    assert sent < OVER_KERNEL_BUFFERS
    async with asyncio.timeout(30):
        await reader.readexactly(OVER_KERNEL_BUFFERS)


async def test_a_tunnel_without_traffic_ends(world: World) -> None:
    chat = Chat()
    world.serve(await world.scripted(chat.script), timeout_seconds=0.3)
    reader, _, _ = await open_chat(world)
    assert await reader.readexactly(6) == b"hello "
    with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
        await asyncio.wait_for(reader.readexactly(1), WAIT_SECONDS_MAX)
    await until(lambda: world.gateway.services[NAME].present == 0)


async def test_a_replica_may_refuse_and_others_cannot_switch(world: World) -> None:
    world.serve((await world.echo()).endpoint)
    assert (await world.client.ask(ASK)).status == 200

    async def unasked(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(AGREE + b"hello ")

    world.serve(await world.scripted(unasked))
    plain = ASK.replace(b"keep-alive, Upgrade", b"keep-alive")
    assert (await world.client.ask(plain)).status == 502


# Over HTTP/2 (RFC 8441).


async def connect(client: Client, path: str = "/chat?x=1", protocol: str = "websocket") -> int:
    """Ask for a tunnel; ``h2`` as a client does not know how."""
    async with asyncio.timeout(WAIT_SECONDS_MAX):
        while not client.h2.remote_settings.enable_connect_protocol:
            client.h2.receive_data(await client.reader.read(65536))
    client.flush()
    return client.send("CONNECT", path, end=False, **{":protocol": protocol, "sec-websocket-version": "13"})


async def test_a_tunnel_over_http2(world: World) -> None:
    chat = Chat()
    world.serve(await world.scripted(chat.script))
    client = await Client(world).open()
    stream = await connect(client)
    head, received = await _opened(client, stream)
    assert (head[":status"], "sec-websocket-accept" in head, "upgrade" in head) == ("200", False, False)
    assert b"GET /chat?x=1 HTTP/1.1\r\n" in chat.asked
    assert b"Connection: Upgrade\r\nUpgrade: websocket\r\n" in chat.asked
    assert b"sec-websocket-version: 13" in chat.asked
    client.h2.send_data(stream, b"there")
    client.flush()
    while received != b"hello there":
        received += await _more(client, stream)
    service = world.gateway.services[NAME]
    assert service.present == 1
    client.h2.end_stream(stream)
    client.flush()
    async with asyncio.timeout(WAIT_SECONDS_MAX):
        await chat.ended.wait()
    await until(lambda: service.present == 0)


async def test_a_tunnel_that_is_refused_smuggles_nothing(world: World) -> None:
    replica = await world.echo()
    world.serve(replica.endpoint)
    client = await Client(world).open()
    stream = await connect(client, "/refuse")
    client.h2.send_data(stream, b"GET /smuggled HTTP/1.1\r\nHost: m\r\n\r\n")
    client.flush()
    assert (await client.answer(stream))[0][":status"] == "413"
    assert [each.head.path for each in replica.exchanges] == [b"/refuse"]
    stream = await connect(client, "/x")  # the replica answers 200, which opens nothing
    assert (await client.answer(stream))[0][":status"] == "502"
    stream = await connect(client, "/x", protocol="connect-udp")
    assert (await client.answer(stream))[0][":status"] == "501"
    stream = await connect(client, "/hang")
    client.h2.send_data(stream, b"x" * 16_000)
    for _ in range(5):
        client.h2.send_data(stream, b"x" * 16_000) if client.h2.local_flow_control_window(stream) >= 16_000 else None
    client.flush()
    assert (await client.answer(stream))[0] == {"reset": "11"}


async def _opened(client: Client, stream: int) -> tuple[dict[str, str], bytes]:
    head: dict[str, str] = {}
    body = b""
    async with asyncio.timeout(WAIT_SECONDS_MAX):
        while not head:
            for event in client.h2.receive_data(await client.reader.read(65536)):
                if isinstance(event, h2.events.ResponseReceived):
                    head = {name.decode(): value.decode() for name, value in event.headers}
                elif isinstance(event, h2.events.DataReceived):
                    body += event.data
            client.flush()
    return head, body


async def _more(client: Client, stream: int) -> bytes:
    async with asyncio.timeout(WAIT_SECONDS_MAX):
        events = client.h2.receive_data(await client.reader.read(65536))
    return b"".join(event.data for event in events if isinstance(event, h2.events.DataReceived) and event.stream_id == stream)
