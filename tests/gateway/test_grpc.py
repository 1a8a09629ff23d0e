"""gRPC on the gateway's port: the real client, through the gateway, to real servers."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
from grpc import aio

from flambeau.gateway.document import Backend, Destination, Document, Host, MatchType, RequestMatch, Rule, TextMatch
from flambeau.gateway.table import Table
from tests.fixtures.waiting import until
from tests.gateway.conftest import NAME, World
from tests.gateway.grpc_caller import SECONDS_MAX, Caller

BIG = b"m" * 3_000_000


async def refused(call: Any) -> aio.AioRpcError:
    with pytest.raises(aio.AioRpcError) as raised:
        await call
    return raised.value


async def test_a_call_with_metadata_both_ways(world: World, caller: Caller) -> None:
    replica = await caller.replica()
    world.serve(replica.endpoint)
    call = caller.unary("echo", b"hello", metadata=(("x-mine", "1"), ("x-raw-bin", b"\x01")))
    assert await call == b"hello"
    assert dict(await call.initial_metadata())["x-from"] == "torchserve/pod-a"
    assert dict(await call.trailing_metadata()) == {"x-trailer": "last", "x-data-bin": b"\x00\xff"}
    method, metadata = replica.calls[0]
    assert method == "/test.Service/echo"
    assert (metadata["x-mine"], metadata["x-raw-bin"]) == ("1", b"\x01")
    assert (metadata["x-forwarded-for"], metadata["x-forwarded-host"], metadata["x-forwarded-proto"]) == ("127.0.0.1", "m", "http")
    assert metadata["x-request-id"]
    service = world.gateway.services[NAME]
    await until(lambda: service.present == 0)
    assert (service.begun, service.in_flight, service.numbers.by_class[2]) == (1, 0, 1)


async def test_messages_of_megabytes_pass_both_ways_at_once(world: World, caller: Caller) -> None:
    world.serve((await caller.replica()).endpoint)
    answers = await asyncio.gather(*(caller.unary("echo", BIG) for _ in range(4)))
    assert all(answer == BIG for answer in answers)
    assert len(world.gateway.services[NAME].replicas[0].links) == 1


async def test_streams_of_the_server_and_of_both(world: World, caller: Caller) -> None:
    world.serve((await caller.replica("r")).endpoint)

    async def one() -> AsyncIterator[bytes]:
        yield b"500"

    assert [answer async for answer in caller.stream("count", one())] == [b"%d" % number for number in range(500)]
    call = caller.stream("mirror")
    for number in range(20):
        await call.write(b"%d" % number)
        assert await call.read() == b"r%d" % number
    await call.done_writing()
    assert await call.read() is aio.EOF


async def test_a_replicas_error_passes(world: World, caller: Caller) -> None:
    world.serve((await caller.replica()).endpoint)
    error = await refused(caller.unary("fail"))
    assert (error.code(), error.details()) == (grpc.StatusCode.NOT_FOUND, "no model ünknown")
    await until(lambda: world.gateway.services[NAME].numbers.by_class[4] == 1)


async def test_a_cancelled_call_is_cancelled_at_the_replica(world: World, caller: Caller) -> None:
    replica = await caller.replica()
    world.serve(replica.endpoint)
    call = caller.unary("hang")
    await until(lambda: replica.calls)
    call.cancel()
    async with asyncio.timeout(SECONDS_MAX):
        await replica.cancelled.wait()
    service = world.gateway.services[NAME]
    await until(lambda: service.present == 0)
    assert (service.in_flight, service.numbers.by_class[0]) == (0, 1)


async def test_deadlines_of_the_client_and_of_the_backend(world: World, caller: Caller) -> None:
    replica = await caller.replica()
    world.serve(replica.endpoint)
    assert (await refused(caller.unary("hang", timeout=0.3))).code() is grpc.StatusCode.DEADLINE_EXCEEDED
    async with asyncio.timeout(SECONDS_MAX):
        await replica.cancelled.wait()
    replica.cancelled.clear()
    world.serve(replica.endpoint, timeout_seconds=0.3)
    error = await refused(caller.unary("hang"))
    assert (error.code(), error.details()) == (grpc.StatusCode.DEADLINE_EXCEEDED, "request timeout: no answer began within 0.3 s")
    async with asyncio.timeout(SECONDS_MAX):
        await replica.cancelled.wait()


async def test_what_has_no_route_is_unimplemented(world: World, caller: Caller) -> None:
    world.serve((await caller.replica()).endpoint)
    error = await refused(caller.unary("echo", host="nobody"))
    assert (error.code(), error.details()) == (grpc.StatusCode.UNIMPLEMENTED, "no route for host 'nobody'; there are: m")
    world.serve()
    error = await refused(caller.unary("echo"))
    assert (error.code(), error.details()) == (grpc.StatusCode.UNAVAILABLE, "revision mnist-00001 has no ready pod")


async def test_rules_look_at_the_method_and_weights_split_calls(world: World, caller: Caller) -> None:
    replicas = [await caller.replica(name) for name in ("a", "b")]
    only = RequestMatch(uri=TextMatch(MatchType.PREFIX, "/test.Service/"))
    rule = Rule((Destination(50, backend="n/a"), Destination(50, backend="n/b")), matches=(only,))
    backends = tuple(Backend(f"n/{replica.name}", (replica.endpoint,)) for replica in replicas)
    world.gateway.serve(Table(Document(1, (Host("m", (rule,)),), backends)))
    for _ in range(60):
        await caller.unary("echo")
    assert all(len(replica.calls) >= 10 for replica in replicas)
    error = await refused(caller.channel().unary_unary("/other.Service/echo")(b"", timeout=SECONDS_MAX))
    assert error.code() is grpc.StatusCode.UNIMPLEMENTED
    assert "none of its rules takes POST /other.Service/echo" in str(error.details())


async def test_calls_go_to_the_least_busy_and_concurrency_holds(world: World, caller: Caller) -> None:
    replicas = [await caller.replica(name) for name in ("a", "b")]
    world.serve(*(replica.endpoint for replica in replicas), concurrency=1)
    hanging = [caller.unary("hang") for _ in range(2)]
    await until(lambda: all(len(replica.calls) == 1 for replica in replicas))
    waiting = caller.unary("echo", b"third")
    service = world.gateway.services[NAME]
    await until(lambda: service.waiting)
    hanging[0].cancel()
    assert await waiting == b"third"
    hanging[1].cancel()


async def test_a_call_waits_for_a_replica_that_wakes(world: World, caller: Caller) -> None:
    woken: list[str] = []
    world.gateway.wakers.add(woken.append)
    world.serve(hold_seconds=30)
    call = asyncio.ensure_future(caller.unary("echo", BIG))
    await until(lambda: woken)
    assert woken == [NAME]
    world.serve((await caller.replica()).endpoint, hold_seconds=30)
    assert await call == BIG


async def test_a_replica_that_dies_costs_only_its_calls(world: World, caller: Caller) -> None:
    doomed, other = await caller.replica("doomed"), await caller.replica("other")
    world.serve(doomed.endpoint)
    call = asyncio.ensure_future(caller.unary("hang"))
    await until(lambda: doomed.calls)
    world.serve(doomed.endpoint, other.endpoint)
    await doomed.stop()
    assert (await refused(call)).code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED)
    for _ in range(10):
        assert await caller.unary("echo", b"x") == b"x"
    assert len(other.calls) == 10


async def test_a_replica_that_breaks_off_is_told_in_the_status(world: World, caller: Caller) -> None:
    async def cut(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"\x00\x00\x00\x04\x00\x00\x00\x00\x00")  # settings: HTTP/2 is spoken
        await reader.readuntil(b"\x00\x00\x00\x04\x01\x00\x00\x00\x00")  # their acknowledgement
        await reader.read(1)  # of the call

    world.serve(await world.scripted(cut))
    error = await refused(caller.unary("hang"))
    assert error.code() is grpc.StatusCode.UNAVAILABLE
    assert "closed the connection; it may have worked on the call" in str(error.details())


async def test_replicas_that_refuse_or_speak_no_http2(world: World, caller: Caller) -> None:
    world.serve(await world.dead())
    error = await refused(caller.unary("echo"))
    assert (error.code(), error.details()) == (grpc.StatusCode.UNAVAILABLE, "cannot connect to any replica: connection refused")
    world.serve((await world.echo()).endpoint)
    error = await refused(caller.unary("echo"))
    assert error.code() is grpc.StatusCode.UNAVAILABLE
    assert "does not speak HTTP/2, which gRPC needs" in str(error.details())


async def test_a_server_that_renews_its_connections_loses_no_call(world: World, caller: Caller) -> None:
    replica = await caller.replica()
    world.serve(replica.endpoint)
    call = caller.stream("mirror")
    await call.write(b"1")
    assert await call.read() == b"torchserve/pod-a1"
    stopping = asyncio.ensure_future(replica.stop(20))  # sends GOAWAY and lets the running call end
    successor = await caller.replica("successor")
    links = world.gateway.services[NAME].replicas[0].links
    await until(lambda: links.take() is None)
    world.serve(successor.endpoint)
    assert await caller.unary("echo", b"x") == b"x"
    await call.write(b"2")
    assert await call.read() == b"torchserve/pod-a2"
    await call.done_writing()
    assert await call.read() is aio.EOF
    await stopping
    await until(lambda: len(links) == 0)


async def test_a_client_that_does_not_read_pauses_the_replica(world: World, caller: Caller) -> None:
    replica = await caller.replica()
    world.serve(replica.endpoint)
    call = caller.stream("pour")
    await call.write(b"go")
    assert len(await call.read()) == 1_000_000
    before = -1
    while before != replica.produced:
        before = replica.produced
        await asyncio.sleep(0.2)
    assert before < 100, "the gateway or the client holds it all"
    assert await caller.unary("echo", b"beside") == b"beside"
    received = 1
    while (await call.read()) is not aio.EOF:
        received += 1
    assert received == 200


async def test_a_replica_that_does_not_read_pauses_the_client(world: World, caller: Caller) -> None:
    world.serve((await caller.replica()).endpoint)
    call = caller.stream("deaf")
    assert await call.read() == b"ready"
    written = 0

    async def pour() -> None:
        nonlocal written
        for _ in range(200):
            await call.write(b"x" * 1_000_000)
            written += 1

    pouring = asyncio.ensure_future(pour())
    before = -1
    while before != written:
        before = written
        await asyncio.sleep(0.2)
    assert written < 100
    assert await caller.unary("echo", b"beside") == b"beside"
    call.cancel()
    with pytest.raises((asyncio.CancelledError, aio.AioRpcError, asyncio.InvalidStateError)):
        await pouring


async def test_drain_lets_running_calls_end(world: World, caller: Caller) -> None:
    world.serve((await caller.replica("r")).endpoint)
    call = caller.stream("mirror")
    await call.write(b"1")
    assert await call.read() == b"r1"
    world.gateway.drain()
    draining = asyncio.ensure_future(world.front.drain(SECONDS_MAX))
    await call.write(b"2")
    assert await call.read() == b"r2"
    await call.done_writing()
    assert await call.read() is aio.EOF
    async with asyncio.timeout(SECONDS_MAX):
        await draining


async def test_calls_that_are_cancelled_in_every_moment_disturb_no_other(
    world: World, caller: Caller, caplog: pytest.LogCaptureFixture
) -> None:
    world.serve((await caller.replica("a")).endpoint, (await caller.replica("b")).endpoint)

    async def calls(seed: int) -> None:
        chance = random.Random(seed)
        for _ in range(15):
            kind = chance.random()
            if kind < 0.6:
                request = b"x" * chance.choice([0, 1_000, 70_000, 300_000])
                assert await caller.unary("echo", request) == request
            elif kind < 0.8:
                doomed = caller.unary("hang", b"x" * chance.choice([1, 500_000]))
                await asyncio.sleep(chance.random() * 0.02)
                doomed.cancel()
            else:
                doomed = caller.stream("pour")
                await doomed.write(b"go")
                await doomed.read()
                doomed.cancel()

    await asyncio.gather(*(calls(seed) for seed in range(15)))
    service = world.gateway.services[NAME]
    await until(lambda: service.present == 0 and service.in_flight == 0)
    assert not [record for record in caplog.records if record.name.startswith("flambeau") and record.levelname == "ERROR"]
