"""Requests through the gateway to real replicas: what passes, what is refused, what happens when a side is slow, leaves or dies."""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import Any

import pytest

from flambeau.foundation.server_timing import durations_of
from flambeau.gateway.document import Backend, Destination, Document, Host, MatchType, RequestMatch, Rewrite, Rule, TextMatch
from flambeau.gateway.table import Table
from tests.fixtures.raw_http import Answer, read_answer
from tests.fixtures.waiting import until
from tests.gateway.conftest import NAME, Echo, World

POST = b"POST /v1/models/m:predict?x=1 HTTP/1.1\r\nHost: m\r\nContent-Length: 5\r\n\r\nhello"
GET = b"GET / HTTP/1.1\r\nHost: m\r\n\r\n"
HANG = b"POST /hang HTTP/1.1\r\nHost: m\r\nContent-Length: 1\r\n\r\na"
SIZE = 20_000_000
OVER_KERNEL_BUFFERS = 80_000_000
"""More than the sockets of two hops can hold (a few MB each, by the system's tuning)."""


def said(answer: Answer) -> Any:
    return json.loads(answer.body)


async def started(world: World, number: int = 0, replica: int = 0) -> Echo:
    """Return a replica's exchange once the request is there whole."""
    await until(lambda: len(world.replicas[replica].exchanges) > number and world.replicas[replica].exchanges[number].ended)
    return world.replicas[replica].exchanges[number]


# What passes.


async def test_forwards_a_request_and_its_answer(world: World) -> None:
    world.serve((await world.echo()).endpoint)
    extra = (
        b"X-Custom: a\r\nConnection: keep-alive, X-Private\r\nX-Private: b\r\nTE: trailers\r\nUpgrade: h2c\r\nX-Forwarded-For: 10.0.0.1\r\n"
    )
    answer = await world.client.ask(POST.replace(b"Host: m\r\n", b"Host: M:8000\r\n" + extra))
    told = said(answer)
    assert (answer.status, told["method"], told["target"], told["size"]) == (200, "POST", "/v1/models/m:predict?x=1", 5)
    request_id = told["headers"].pop("x-request-id")
    assert told["headers"] == {
        "host": "M:8000",
        "x-custom": "a",
        "x-forwarded-for": "10.0.0.1, 127.0.0.1",
        "x-forwarded-proto": "http",
        "x-forwarded-host": "M:8000",
        "content-length": "5",
    }
    assert answer.headers.pop("date")
    assert answer.headers == {
        "server": "flambeau",
        "content-type": "application/json",
        "x-from": "replica",
        "x-two": "2",
        "x-request-id": request_id,
        "content-length": str(len(answer.body)),
    }


async def test_passes_the_clients_request_id_on(world: World) -> None:
    world.serve((await world.echo()).endpoint)
    answer = await world.client.ask(GET.replace(b"\r\n\r\n", b"\r\nX-Request-ID: abc\r\n\r\n"))
    assert (answer.headers["x-request-id"], said(answer)["headers"]["x-request-id"]) == ("abc", "abc")


async def test_who_asks_hears_how_long_the_request_was_here(world: World) -> None:
    world.serve((await world.echo()).endpoint)
    assert "server-timing" not in (await world.client.ask(POST)).headers
    for _ in range(2):  # the second head is the first one's
        answer = await world.client.ask(POST.replace(b"Host: m\r\n", b"Host: m\r\nX-Flambeau-Timing: 1\r\n"))
        assert durations_of([answer.headers["server-timing"]])["gateway"] > 0
        assert said(answer)["headers"]["x-flambeau-timing"] == "1"


async def test_rewrites_path_and_host(world: World) -> None:
    rule = Rule(
        (Destination(weight=1, backend=NAME),),
        (RequestMatch(uri=TextMatch(MatchType.PREFIX, "/serving/")),),
        Rewrite(uri="/", authority="m-predictor.svc"),
    )
    world.serve((await world.echo()).endpoint, host="*.example.com", rule=rule)
    told = said(await world.client.ask(b"GET /serving/v1%2Fmodels?q HTTP/1.1\r\nHost: a.example.com\r\n\r\n"))
    assert (told["target"], told["headers"]["host"], told["headers"]["x-forwarded-host"]) == (
        "/v1%2Fmodels?q",
        "m-predictor.svc",
        "a.example.com",
    )


async def test_keeps_connections_on_both_sides(world: World) -> None:
    replica = await world.echo()
    world.serve(replica.endpoint)
    reader, writer = await world.client.open()
    writer.write(GET + POST)
    for size in (0, 5):
        assert said(await read_answer(reader))["size"] == size
    writer.write(POST[:70])
    await asyncio.sleep(0)
    writer.write(POST[70:])
    assert said(await read_answer(reader))["size"] == 5
    assert replica.server.connections == 1


async def test_chunked_requests_and_continue(world: World) -> None:
    world.serve((await world.echo()).endpoint)
    reader, writer = await world.client.open()
    writer.write(b"POST / HTTP/1.1\r\nHost: m\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n")
    assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
    writer.write(b"3\r\nabc\r\n")
    await until(lambda: bool(world.replicas[0].exchanges and world.replicas[0].exchanges[0].size == 3))
    writer.write(b"2\r\nde\r\n0\r\n\r\n")
    told = said(await read_answer(reader))
    assert (told["size"], told["headers"]["transfer-encoding"], "expect" in told["headers"]) == (5, "chunked", False)


async def test_answers_without_a_body(world: World) -> None:
    replica = await world.echo()
    world.serve(replica.endpoint)
    reader, writer = await world.client.open()
    for request in (b"HEAD / HTTP/1.1\r\nHost: m\r\n\r\n", b"GET /nothing HTTP/1.1\r\nHost: m\r\n\r\n"):
        writer.write(request)
        answer = await read_answer(reader, head_only=True)
        assert answer.headers["x-from"] == "replica"
        assert int(answer.headers.get("content-length", "0")) > 0 or answer.status == 204
    writer.write(GET)
    assert (await read_answer(reader)).status == 200
    assert replica.server.connections == 1


RAW_ANSWERS = {
    "length": (b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc", 200, b"abc"),
    "chunked": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\nT: x\r\n\r\n", 200, b"abc"),
    "until close": (b"HTTP/1.1 200 OK\r\n\r\nabc", 200, b"abc"),
    "HTTP/1.0": (b"HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\nabc", 200, b"abc"),
    "early hints": (b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc", 200, b"abc"),
    "not modified": (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 3\r\n\r\n", 304, b""),
    "odd status": (b"HTTP/1.1 299 Odd\r\nContent-Length: 1\r\n\r\na", 299, b"a"),
    "no body at all": (b"HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n", 500, b""),
    "not HTTP": (b"SSH-2.0-x\r\n", 502, None),
    "both framings": (b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 502, None),
    "silence": (b"", 502, None),
    "switching": (b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n", 502, None),
    "endless head": (b"HTTP/1.1 200 OK\r\nX: " + b"a" * 300_000, 502, None),
}


@pytest.mark.parametrize("pieces", [1, 3])
@pytest.mark.parametrize("name", RAW_ANSWERS)
async def test_every_framing_of_a_replica_is_understood(world: World, name: str, pieces: int) -> None:
    raw, status, body = RAW_ANSWERS[name]

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        step = max(1, len(raw) // pieces)
        for begin in range(0, len(raw), step):
            writer.write(raw[begin : begin + step])
            await writer.drain()
            await asyncio.sleep(0.002)
        writer.close()

    world.serve(await world.scripted(script))
    answer = await world.client.ask(GET, head_only=status == 304)
    assert answer.status == status
    if body is None:
        assert said(answer)["pod"] == "torchserve/pod-s"
    else:
        assert answer.body == body


# What is refused.


async def test_an_unknown_host_hears_what_to_do(world: World) -> None:
    answer = await world.client.ask(GET)
    assert (answer.status, answer.headers["server"]) == (404, "flambeau")
    assert "no host has a route yet" in said(answer)["hint"]
    world.serve((await world.echo()).endpoint, host="mnist.torchserve.localhost")
    told = said(await world.client.ask(b"GET /v1/models HTTP/1.1\r\nHost: nobody\r\n\r\n"))
    assert told == {
        "error": "no route for host 'nobody'",
        "hosts": ["mnist.torchserve.localhost"],
        "hint": "curl -H 'Host: mnist.torchserve.localhost' 'http://gateway:8000/v1/models'",
    }


async def test_an_unknown_path_hears_the_rules(world: World) -> None:
    rule = Rule(
        (Destination(weight=1, backend=NAME),), (RequestMatch(uri=TextMatch(MatchType.PREFIX, "/v1")),), source="VirtualService a/b"
    )
    world.serve((await world.echo()).endpoint, rule=rule)
    answer = await world.client.ask(GET)
    assert answer.status == 404
    assert said(answer)["rules"] == [f"uri prefix /v1 -> {NAME} (VirtualService a/b)"]


async def test_a_backend_without_replicas_says_why(world: World) -> None:
    world.serve()
    answer = await world.client.ask(POST)
    assert (answer.status, answer.headers["retry-after"]) == (503, "1")
    assert said(answer)["error"] == "revision mnist-00001 has no ready pod"


async def test_routes_in_a_circle_are_508(world: World) -> None:
    circle = Rule((Destination(weight=1, reroute=True, host="m"),), source="VirtualService a/b")
    world.gateway.serve(Table(Document(1, (Host("m", (circle,)),))))
    assert (await world.client.ask(GET)).status == 508


# Replicas that fail.


async def test_a_refused_connection_costs_nothing_while_there_is_another(world: World) -> None:
    replica = await world.echo()
    dead = await world.dead()
    world.serve(dead, replica.endpoint)
    answers = [await world.client.ask(POST) for _ in range(20)]
    assert [answer.status for answer in answers] == [200] * 20
    assert len(replica.exchanges) == 20
    assert world.gateway.services[NAME].replicas[0].health.ejections > 0


async def test_no_replica_to_connect_to_is_503(world: World) -> None:
    world.serve(await world.dead("a/1"), await world.dead("a/2"))
    answer = await world.client.ask(POST)
    assert (answer.status, answer.headers["retry-after"]) == (503, "1")
    assert said(answer)["error"] == "cannot connect to any replica: connection refused"
    assert world.gateway.services[NAME].in_flight == 0


async def test_a_replica_that_dies_before_it_answers_is_502_and_not_asked_twice(world: World) -> None:
    connections = []

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append(writer)
        await reader.readuntil(b"hello")
        writer.transport.abort()

    endpoint = await world.scripted(script)
    world.serve(endpoint, await world.scripted(script))
    answer = await world.client.ask(POST)
    assert answer.status == 502
    assert (
        said(answer)["error"]
        == "the replica closed the connection before it answered; it may have worked on the request, so it was not sent again"
    )
    assert len(connections) == 1


async def test_a_replica_that_dies_in_the_middle_of_its_answer_cuts_the_client(world: World) -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc")
        await writer.drain()
        await asyncio.sleep(0.02)
        writer.transport.abort()

    world.serve(await world.scripted(script))
    with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
        await world.client.ask(GET)
    await until(lambda: world.gateway.services[NAME].in_flight == 0)


async def test_a_kept_connection_that_closed_unseen_is_replaced(world: World) -> None:
    accepted = []

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        accepted.append(writer)
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()
        await reader.read(1)

    world.serve(await world.scripted(script))
    assert (await world.client.ask(GET)).status == 200
    reader, writer = await world.client.open()
    writer.write(POST[:-5])  # the idle connection is taken, and nothing is sent on it before the body comes
    await until(lambda: world.gateway.services[NAME].in_flight == 1)
    accepted[0].transport.abort()
    await until(lambda: len(accepted) == 2)
    writer.write(POST[-5:])
    assert (await read_answer(reader)).status == 200


async def test_repeated_failures_eject_and_success_brings_back(world: World) -> None:
    replica = await world.echo("a/good")
    dead = await world.dead("a/bad")
    world.serve(dead, replica.endpoint)
    for _ in range(30):
        await world.client.ask(POST)
    bad = world.gateway.services[NAME].replicas[0]
    assert bad.health.ejections == 1  # within its first second of being left alone nobody tried it again
    assert world.gateway.services[NAME].numbers.ejections == 1


# Time.


async def test_an_answer_that_does_not_begin_is_504_and_cancelled(world: World) -> None:
    world.serve((await world.echo()).endpoint, timeout_seconds=0.2)
    answer = await world.client.ask(HANG)
    assert answer.status == 504
    assert said(answer)["error"] == "request timeout: no answer began within 0.2 s"
    await asyncio.wait_for(world.replicas[0].exchanges[0].aborted.wait(), 5)


async def test_a_rules_timeout_beats_the_backends(world: World) -> None:
    rule = Rule((Destination(weight=1, backend=NAME),), timeout_seconds=0.1)
    world.serve((await world.echo()).endpoint, rule=rule)
    assert "0.1 s" in said(await world.client.ask(HANG))["error"]


async def test_an_answer_that_stalls_is_cut(world: World) -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n")
        await reader.read(1)

    world.serve(await world.scripted(script), timeout_seconds=0.2)
    with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
        await world.client.ask(GET)


async def test_a_stream_may_last_longer_than_the_timeout(world: World) -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        for _ in range(8):
            writer.write(b"1\r\na\r\n")
            await writer.drain()
            await asyncio.sleep(0.1)
        writer.write(b"0\r\n\r\n")
        await writer.drain()

    world.serve(await world.scripted(script), timeout_seconds=0.4)
    assert (await world.client.ask(GET)).body == b"a" * 8


# Clients that leave.


@pytest.mark.parametrize("request_bytes", [HANG, POST.replace(b"Length: 5", b"Length: 9")], ids=["waiting", "sending"])
async def test_a_client_that_leaves_is_cancelled_at_the_replica(world: World, request_bytes: bytes) -> None:
    replica = await world.echo()
    world.serve(replica.endpoint)
    _, writer = await world.client.open()
    writer.write(request_bytes)
    await until(lambda: bool(replica.exchanges and replica.exchanges[0].size))
    writer.transport.abort()
    await asyncio.wait_for(replica.exchanges[0].aborted.wait(), 5)
    service = world.gateway.services[NAME]
    await until(lambda: service.in_flight == 0)
    assert service.numbers.by_class[0] == 1


# Big bodies and slow sides.


async def test_an_upload_passes_whole(world: World) -> None:
    world.serve((await world.echo()).endpoint)
    reader, writer = await world.client.open()
    writer.write(b"POST / HTTP/1.1\r\nHost: m\r\nContent-Length: %d\r\n\r\n" % SIZE)
    for _ in range(SIZE // 100_000):
        writer.write(b"a" * 100_000)
        await writer.drain()
    assert said(await read_answer(reader))["size"] == SIZE


async def test_a_slow_replica_pauses_the_client(world: World) -> None:
    go = asyncio.Event()

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        await go.wait()
        await reader.readexactly(OVER_KERNEL_BUFFERS)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()

    world.serve(await world.scripted(script))
    reader, writer = await world.client.open()
    writer.write(b"POST / HTTP/1.1\r\nHost: m\r\nContent-Length: %d\r\n\r\n" % OVER_KERNEL_BUFFERS)
    sent = 0
    with contextlib.suppress(TimeoutError):
        while sent < OVER_KERNEL_BUFFERS:
            writer.write(b"a" * 100_000)
            sent += 100_000
            await asyncio.wait_for(writer.drain(), 0.3)
    assert sent < OVER_KERNEL_BUFFERS, "the gateway took all of it while the replica read nothing"
    go.set()
    while sent < OVER_KERNEL_BUFFERS:
        writer.write(b"a" * 100_000)
        sent += 100_000
        await writer.drain()
    assert (await read_answer(reader)).status == 200


async def test_a_slow_client_pauses_the_replica(world: World) -> None:
    sent = 0

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % OVER_KERNEL_BUFFERS)
        while sent < OVER_KERNEL_BUFFERS:
            writer.write(b"a" * 100_000)
            sent += 100_000
            await writer.drain()

    world.serve(await world.scripted(script), timeout_seconds=0.5)
    reader, writer = await world.client.open()
    writer.transport.pause_reading()  # type: ignore[attr-defined]
    writer.write(GET)
    before = -1
    async with asyncio.timeout(5):
        while sent != before:
            before = sent
            await asyncio.sleep(0.7)  # longer than the timeout: a slow client is not the replica's fault
    assert 0 < sent < OVER_KERNEL_BUFFERS
    writer.transport.resume_reading()  # type: ignore[attr-defined]
    answer = await read_answer(reader)
    assert (answer.status, len(answer.body)) == (200, OVER_KERNEL_BUFFERS)


async def test_an_early_refusal_reaches_a_client_that_is_still_sending(world: World) -> None:
    world.serve((await world.echo()).endpoint)
    reader, writer = await world.client.open()
    writer.write(b"POST /refuse HTTP/1.1\r\nHost: m\r\nContent-Length: %d\r\n\r\n" % SIZE)
    with contextlib.suppress(OSError):
        for _ in range(20):
            writer.write(b"a" * 100_000)
            await writer.drain()
    answer = await read_answer(reader)
    assert (answer.status, answer.body) == (413, b"too large")


# Many at once.


async def test_concurrency_is_kept_the_rest_waits_and_too_many_are_refused(world: World) -> None:
    replica = await world.echo()
    world.serve(replica.endpoint, concurrency=1)
    service = world.gateway.services[NAME]
    asking = [asyncio.ensure_future(world.client.ask(HANG)) for _ in range(11)]
    await until(lambda: service.in_flight == 1 and len(service.waiting) == 10)
    refused = await world.client.ask(HANG)
    assert (refused.status, refused.headers["retry-after"], said(refused)["error"]) == (503, "1", "pending request queue full")
    for number in range(11):
        (await started(world, number)).answer()
    assert {answer.status for answer in await asyncio.gather(*asking)} == {200}
    assert (service.in_flight, len(service.waiting)) == (0, 0)


async def test_a_waiting_client_may_leave_or_run_out_of_time(world: World) -> None:
    world.serve((await world.echo()).endpoint, concurrency=1, timeout_seconds=0.5)
    service = world.gateway.services[NAME]
    holding = asyncio.ensure_future(world.client.ask(HANG))
    await started(world)
    _, writer = await world.client.open()
    writer.write(HANG)
    await until(lambda: len(service.waiting) == 1)
    writer.transport.abort()
    await until(lambda: len(service.waiting) == 0)
    answer = await world.client.ask(HANG)
    assert answer.status in (503, 504)
    assert (await holding).status == 504


async def test_another_replica_takes_what_waits(world: World) -> None:
    first, second = await world.echo("a/1"), await world.echo("a/2")
    world.serve(first.endpoint, concurrency=1)
    asking = [asyncio.ensure_future(world.client.ask(HANG)) for _ in range(2)]
    await until(lambda: len(world.gateway.services[NAME].waiting) == 1)
    world.serve(first.endpoint, second.endpoint, concurrency=1)
    (await started(world, replica=1)).answer()
    (await started(world, replica=0)).answer()
    assert {said(answer)["replica"] for answer in await asyncio.gather(*asking)} == {"a/1", "a/2"}


async def test_requests_go_where_fewest_are(world: World) -> None:
    first, second = await world.echo("a/1"), await world.echo("a/2")
    world.serve(first.endpoint, second.endpoint)
    asking = [asyncio.ensure_future(world.client.ask(HANG)) for _ in range(10)]
    await until(lambda: len(first.exchanges) + len(second.exchanges) == 10)
    assert len(first.exchanges) == len(second.exchanges) == 5
    for number in range(5):
        for replica in (0, 1):
            (await started(world, number, replica)).answer()
    await asyncio.gather(*asking)


async def test_reloads_under_load_fail_nothing(world: World) -> None:
    replicas = [await world.echo(f"a/{number}") for number in range(3)]
    world.serve(replicas[0].endpoint)
    stop = asyncio.Event()
    statuses: list[int] = []

    async def load() -> None:
        reader, writer = await world.client.open()
        while not stop.is_set():
            writer.write(POST)
            statuses.append((await read_answer(reader)).status)

    loading = [asyncio.ensure_future(load()) for _ in range(4)]
    for number in range(60):
        world.serve(replicas[number % 3].endpoint, replicas[(number + 1) % 3].endpoint)
        reached = len(statuses)
        await until(lambda reached=reached: len(statuses) > reached + 4)  # type: ignore[misc]
    stop.set()
    await asyncio.gather(*loading)
    assert set(statuses) == {200}
    assert world.gateway.services[NAME].in_flight == 0


async def test_a_removed_replica_finishes_what_it_has_and_is_let_go(world: World) -> None:
    old, new = await world.echo("a/old"), await world.echo("a/new")
    world.serve(old.endpoint)
    asking = asyncio.ensure_future(world.client.ask(HANG))
    exchange = await started(world)
    world.serve(new.endpoint)
    assert said(await world.client.ask(POST))["replica"] == "a/new"
    exchange.answer()
    assert said(await asking)["replica"] == "a/old"
    await until(lambda: old.server.connections == 0)


async def test_weights_split_real_requests(world: World) -> None:
    a, b = await world.echo("a/a"), await world.echo("a/b")
    rule = Rule((Destination(weight=80, backend="a"), Destination(weight=20, backend="b")))
    world.gateway.serve(Table(Document(1, (Host("*", (rule,)),), (Backend("a", (a.endpoint,)), Backend("b", (b.endpoint,))))))
    reader, writer = await world.client.open()
    for _ in range(300):
        writer.write(GET)
        assert (await read_answer(reader)).status == 200
    assert 20 <= len(b.exchanges) <= 110
    assert len(a.exchanges) + len(b.exchanges) == 300
