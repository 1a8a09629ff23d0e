"""What an attacker sends: requests that two readers would read differently, and floods that cost the sender less than us."""

from __future__ import annotations

import asyncio
import json

import pytest
from hpack import Encoder
from hyperframe.frame import ContinuationFrame, DataFrame, HeadersFrame, RstStreamFrame

from flambeau.gateway import http2_link
from flambeau.gateway.document import Destination, HeaderChanges, Headers, Rewrite, Rule
from tests.fixtures.raw_http import WAIT_SECONDS_MAX
from tests.fixtures.waiting import until
from tests.gateway.conftest import NAME, World

SETTINGS = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00"
POST = [(":method", "POST"), (":scheme", "http"), (":path", "/x"), (":authority", "m")]


class Attacker:
    """A client of HTTP/2 that keeps no rules."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.encoder = Encoder()

    async def open(self) -> Attacker:
        self.reader, self.writer = await self.world.client.open()
        self.writer.write(SETTINGS)
        return self

    def head(self, stream: int, headers: list[tuple[str, str]], *flags: str) -> None:
        frame = HeadersFrame(stream, self.encoder.encode(headers))
        for flag in ("END_HEADERS", *flags):
            frame.flags.add(flag)
        self.writer.write(frame.serialize())

    def data(self, stream: int, data: bytes, *flags: str) -> None:
        frame = DataFrame(stream, data)
        for flag in flags:
            frame.flags.add(flag)
        self.writer.write(frame.serialize())

    async def ended(self) -> bytes:
        """Return all that came until the connection's end."""
        async with asyncio.timeout(WAIT_SECONDS_MAX * 4):
            try:
                return await self.reader.read()
            except ConnectionError:
                return b""


async def alive(world: World) -> bool:
    """Tell whether the gateway and its kept connections still answer rightly."""
    answers = [await world.client.ask(b"POST /y HTTP/1.1\r\nHost: m\r\nContent-Length: 2\r\n\r\nhi") for _ in range(3)]
    return all(answer.status == 200 and json.loads(answer.body)["size"] == 2 for answer in answers)


async def test_an_empty_frame_is_no_end_of_a_body_in_chunks(world: World) -> None:
    replica = await world.echo()
    world.serve(replica.endpoint)
    client = await Attacker(world).open()
    client.head(1, POST)
    client.data(1, b"ab")
    await until(lambda: replica.exchanges and replica.exchanges[0].size == 2)
    client.data(1, b"")
    client.data(1, b"GET /smuggled HTTP/1.1\r\nHost: m\r\n\r\n")
    client.data(1, b"", "END_STREAM")
    await until(lambda: replica.exchanges[0].ended)
    assert [(each.head.path, each.size) for each in replica.exchanges] == [(b"/x", 37)]
    assert await alive(world)


@pytest.mark.parametrize("way", ["no body", "trailers", "short", "long", "two lengths", "empty frame after HEAD"])
async def test_a_length_that_is_none_never_shifts_the_next_request(world: World, way: str) -> None:
    replica = await world.echo()
    world.serve(replica.endpoint)
    client = await Attacker(world).open()
    announced = [*POST, ("content-length", "40")]
    if way == "no body":
        client.head(1, announced, "END_STREAM")
    elif way == "trailers":
        client.head(1, announced)
        client.head(1, [("x-trailer", "a")], "END_STREAM")
    elif way == "short":
        client.head(1, announced)
        client.data(1, b"a", "END_STREAM")
    elif way == "long":
        client.head(1, announced)
        client.data(1, b"a" * 41, "END_STREAM")
    elif way == "two lengths":
        client.head(1, [*announced, ("content-length", "41")])
        client.data(1, b"a" * 40, "END_STREAM")
    else:
        client.head(1, [(":method", "HEAD"), *announced[1:]])
        client.data(1, b"", "END_STREAM")
    client.writer.write(b"\x00\x00\x08\x06\x00\x00\x00\x00\x0012345678")
    assert await asyncio.wait_for(client.reader.read(1), WAIT_SECONDS_MAX)
    assert await alive(world)
    assert all(each.size != 40 for each in replica.exchanges)


@pytest.mark.parametrize(
    "header",
    [
        ("x-a\r\nx-smuggled", "b"),
        ("x-a", "b\r\nx-smuggled: c"),
        ("x-a", "b\nx-smuggled: c"),
        ("x-a", "b\0"),
        ("x a", "b"),
        ("x-a:b", "c"),
        ("x-a(", "b"),
        ("x-a\u00e4", "b"),
        ("X-A", "b"),
        ("transfer-encoding", "chunked"),
        ("connection", "close"),
        (":path", "/other"),
    ],
)
async def test_headers_that_would_break_http1_reach_nobody(world: World, header: tuple[str, str]) -> None:
    replica = await world.echo()
    world.serve(replica.endpoint)
    client = await Attacker(world).open()
    client.head(1, [*POST, header], "END_STREAM")
    client.writer.write(b"\x00\x00\x08\x06\x00\x00\x00\x00\x0012345678")
    assert await asyncio.wait_for(client.reader.read(1), WAIT_SECONDS_MAX)
    assert await alive(world)
    assert all(each.head.path == b"/y" for each in replica.exchanges)


@pytest.mark.parametrize("path", ["/a HTTP/1.1\r\nHost: b\r\n\r\n", "/a b", "//evil\tx", "http://evil/", "", "/a#b"])
async def test_targets_that_would_break_http1_reach_nobody(world: World, path: str) -> None:
    replica = await world.echo()
    world.serve(replica.endpoint)
    client = await Attacker(world).open()
    client.head(1, [POST[0], POST[1], (":path", path), POST[3]], "END_STREAM")
    client.writer.write(b"\x00\x00\x08\x06\x00\x00\x00\x00\x0012345678")
    assert await asyncio.wait_for(client.reader.read(1), WAIT_SECONDS_MAX)
    assert await alive(world)
    assert all(each.head.path == b"/y" for each in replica.exchanges)


async def test_two_hosts_are_one_or_none(world: World) -> None:
    replica = await world.echo()
    world.serve(replica.endpoint)
    for request in (
        b"GET / HTTP/1.1\r\nHost: m\r\nHost: evil\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: m, evil\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: evil@m\r\n\r\n",
        b"GET http://evil@m/ HTTP/1.1\r\nHost: m\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost : m\r\n\r\n",
    ):
        assert (await world.client.ask(request)).status == 400, request
    absolute = await world.client.ask(b"GET http://m/ HTTP/1.1\r\nHost: evil\r\n\r\n")
    assert json.loads(absolute.body)["headers"]["host"] == "m"
    client = await Attacker(world).open()
    client.head(1, [*POST, ("host", "evil")], "END_STREAM")
    await client.ended()
    assert len(replica.exchanges) == 1


async def test_a_rapid_reset_ends_its_connection_only(world: World) -> None:
    replica = await world.echo()
    world.serve(replica.endpoint)
    client = await Attacker(world).open()
    for number in range(http2_link.RESETS_MAX + 300):
        client.head(2 * number + 1, [*POST[:2], (":path", "/hang"), POST[3]], "END_STREAM")
        client.writer.write(RstStreamFrame(2 * number + 1, 8).serialize())
    said = await client.ended()
    assert b"\x00\x00\x00\x0b" in said, "a GOAWAY says ENHANCE_YOUR_CALM"
    assert await alive(world)
    await until(lambda: all(service.present == 0 for service in world.gateway.services.values()))


async def test_a_client_that_takes_back_a_few_hundred_requests_goes_on(world: World) -> None:
    world.serve((await world.echo()).endpoint)
    client = await Attacker(world).open()
    for number in range(500):
        client.head(2 * number + 1, [*POST[:2], (":path", "/hang"), POST[3]], "END_STREAM")
        client.writer.write(RstStreamFrame(2 * number + 1, 8).serialize())
    client.head(1001, POST, "END_STREAM")
    received = b""
    async with asyncio.timeout(WAIT_SECONDS_MAX * 4):
        while b'"replica"' not in received:
            data = await client.reader.read(65536)
            assert data, "the connection ended"
            received += data


async def test_a_head_of_many_frames_ends_its_connection(world: World) -> None:
    world.serve((await world.echo()).endpoint)
    client = await Attacker(world).open()
    first = HeadersFrame(1, client.encoder.encode(POST))
    client.writer.write(first.serialize())
    for _ in range(20):
        client.writer.write(ContinuationFrame(1, b"\x00\x01a" + b"\x7f\x81\x1f" + b"b" * 4096).serialize())
    assert b"\x00\x00\x00\x0b" in await client.ended()
    assert await alive(world)


async def test_a_thousand_headers_and_a_header_bomb_reach_nobody(world: World) -> None:
    replica = await world.echo()
    world.serve(replica.endpoint)
    client = await Attacker(world).open()
    client.head(1, [*POST, *((f"x-{number}", "a") for number in range(1000))], "END_STREAM")
    assert await asyncio.wait_for(client.reader.read(1), WAIT_SECONDS_MAX)
    bomb = await Attacker(world).open()
    bomb.head(1, [*POST, ("x-bomb", "a" * 3000), *([("x-bomb", "a" * 3000)] * 1000)], "END_STREAM")
    assert await bomb.ended()
    assert await alive(world)
    assert all(each.head.path == b"/y" for each in replica.exchanges)


async def test_a_rewrite_cannot_be_led_astray_by_a_path(world: World) -> None:
    replica = await world.echo()
    rule = Rule(
        (Destination(100, backend=NAME),),
        rewrite=Rewrite(pattern="/a/(.*)", replacement=r"/b/\1"),
        headers=Headers(HeaderChanges(set=(("X-Set", "ok"),))),
    )
    world.serve(replica.endpoint, rule=rule)
    answer = await world.client.ask(b"GET /a/%0d%0aX-Smuggled:%201/../c?d HTTP/1.1\r\nHost: m\r\nx-set: mine\r\n\r\n")
    told = json.loads(answer.body)
    assert told["target"] == "/b/%0d%0aX-Smuggled:%201/../c?d"
    assert (told["headers"]["x-set"], "x-smuggled" in told["headers"]) == ("ok", False)
