"""What a kept connection remembers of its last request and answer, and what it must not."""

from __future__ import annotations

import asyncio
import itertools
import json
from typing import Any

from flambeau.gateway.document import Backend, Destination, Document, HeaderChanges, Headers, Host, Mirror, Rewrite, Rule
from flambeau.gateway.table import Table
from tests.fixtures.raw_http import read_answer
from tests.fixtures.waiting import until
from tests.gateway.conftest import NAME, EchoReplica, World

POST = b"POST /v1/models/m:predict HTTP/1.1\r\nHost: m\r\nContent-Length: 5\r\n\r\nhello"
GET = b"GET /a HTTP/1.1\r\nHost: m\r\n\r\n"


class Kept:
    """A client that asks again and again on one connection."""

    def __init__(self, streams: tuple[asyncio.StreamReader, asyncio.StreamWriter]) -> None:
        self._reader, self._writer = streams

    async def ask(self, request: bytes = POST) -> Any:
        self._writer.write(request)
        answer = await read_answer(self._reader)
        assert answer.status == 200, answer
        return json.loads(answer.body)


def split(world: World, *replicas: EchoReplica, rule: Rule) -> None:
    """Serve a backend for each replica."""
    backends = tuple(Backend(replica.name, (replica.endpoint,)) for replica in replicas)
    world.gateway.serve(Table(Document(1, (Host("m", (rule,)),), backends)))


async def test_the_same_request_gets_an_id_of_its_own_each_time(world: World) -> None:
    world.serve((await world.echo()).endpoint)
    client = Kept(await world.client.open())
    first, second, third = [(await client.ask())["headers"] for _ in range(3)]
    assert len({each.pop("x-request-id") for each in (first, second, third)}) == 3
    assert first == second == third


async def test_a_new_table_holds_for_the_next_request_of_a_kept_connection(world: World) -> None:
    old, new = await world.echo("a/old"), await world.echo("a/new")
    world.serve(old.endpoint)
    client = Kept(await world.client.open())
    assert [(await client.ask())["replica"] for _ in range(2)] == ["a/old"] * 2
    world.serve(new.endpoint, rule=Rule((Destination(1, backend=NAME),), rewrite=Rewrite(uri="/other", authority="inside")))
    told = await client.ask()
    assert (told["replica"], told["target"], told["headers"]["host"]) == ("a/new", "/other", "inside")


async def test_chance_is_asked_for_each_request_of_a_kept_connection(world: World) -> None:
    stable, canary = await world.echo("a/stable"), await world.echo("a/canary")
    split(world, stable, canary, rule=Rule((Destination(50, backend="a/stable"), Destination(50, backend="a/canary"))))
    world.gateway.draw = itertools.cycle((0.1, 0.9)).__next__
    client = Kept(await world.client.open())
    assert [(await client.ask())["replica"] for _ in range(4)] == ["a/stable", "a/canary"] * 2


async def test_headers_that_a_rule_changes_are_not_those_of_the_mirrors_copy_or_of_the_next_rule(world: World) -> None:
    real, mirror = await world.echo("a/real"), await world.echo("a/mirror")
    to = (Destination(1, backend="a/real"),)
    client = Kept(await world.client.open())
    for value in ("1", "2"):
        changes = Headers(HeaderChanges(set=(("x-of-rule", value),)))
        split(world, real, mirror, rule=Rule(to, headers=changes, mirrors=(Mirror("a/mirror"),)))
        assert [(await client.ask())["headers"]["x-of-rule"] for _ in range(2)] == [value] * 2
    await until(lambda: len(mirror.exchanges) == 4)
    assert [each.head.get(b"x-of-rule") for each in mirror.exchanges] == [b"1", b"1", b"2", b"2"]
    split(world, real, mirror, rule=Rule(to))
    assert "x-of-rule" not in (await client.ask())["headers"]


async def test_bytes_behind_an_answer_are_never_the_beginning_of_the_next(world: World) -> None:
    connections = 0

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        while await reader.readuntil(b"\r\n\r\n"):
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}HTTP/1.1 200 OK\r\nX-Smuggled: ")

    world.serve(await world.scripted(script))
    client = Kept(await world.client.open())
    assert [await client.ask(GET) for _ in range(3)] == [{}] * 3
    assert connections == 3


async def test_a_replicas_connection_reads_answers_of_all_kinds_one_after_the_other(world: World) -> None:
    answers = (
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}",
        b"HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\nT: a\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n",  # of HEAD
        b"HTTP/1.1 204 No Content\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]",
    )
    connections = 0

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        for answer in answers:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(answer)

    world.serve(await world.scripted(script))
    reader, writer = await world.client.open()
    bodies: list[bytes] = []
    for method in (b"GET", b"GET", b"HEAD", b"GET", b"GET"):
        writer.write(GET.replace(b"GET", method))
        bodies.append((await read_answer(reader, head_only=method == b"HEAD" or len(bodies) == 3)).body)
    assert bodies == [b"{}", b"{}", b"", b"", b"[]"]
    assert connections == 1


async def test_a_body_that_comes_in_pieces_ends_where_its_length_says(world: World) -> None:
    arrived = asyncio.Event()
    connections = 0

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        for behind in (b"", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\na")
            for piece in (b"bc", b"def" + behind):
                await arrived.wait()
                arrived.clear()
                writer.write(piece)

    world.serve(await world.scripted(script))
    reader, writer = await world.client.open()
    for _ in range(3):
        writer.write(GET)
        assert b"200 OK" in await reader.readuntil(b"\r\n\r\n")
        for piece in (b"a", b"bc", b"def"):
            assert await reader.readexactly(len(piece)) == piece
            arrived.set()
        arrived.clear()
    assert connections == 2  # bytes behind the second answer ended the first connection
