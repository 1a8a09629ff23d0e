"""What stands beside replicas for gRPC calls: they are logged, mirrored and compared; clients never wait for it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
from grpc import aio

from flambeau.gateway import copies
from flambeau.gateway.document import Backend, Destination, Document, Host, Logger, Mirror, Rule, Shadow
from flambeau.gateway.sidecar import Sidecar
from flambeau.gateway.table import Table
from flambeau.serving.frontends.grpc_messages import message
from tests.fixtures.waiting import until
from tests.gateway.conftest import NAME, World
from tests.gateway.grpc_caller import Caller
from tests.gateway.grpc_replica import GrpcReplica
from tests.gateway.http_model import Model

INFER = "/inference.GRPCInferenceService/ModelInfer"


@pytest.fixture
async def collector() -> AsyncIterator[Model]:
    started = await Model().start()
    try:
        yield started
    finally:
        await started.server.close()


def serve(world: World, replica: GrpcReplica, *others: Backend, mirrors: tuple[Mirror, ...] = (), **extras: Any) -> None:
    rule = Rule((Destination(1, backend=NAME),), source="InferenceService ns/m", mirrors=mirrors)
    backend = Backend(NAME, (replica.endpoint,), 30.0, **extras)
    world.gateway.serve(Table(Document(1, (Host("m", (rule,)),), (backend, *others))))


def sidecar(world: World) -> Sidecar:
    found = world.gateway.services[NAME].sidecar
    assert found is not None
    return found


def question(*values: int) -> bytes:
    asked: Any = message("inference.ModelInferRequest")(model_name="m", id="mine")
    asked.inputs.add(name="i", datatype="INT64", shape=[len(values)]).contents.int64_contents.extend(values)
    return bytes(asked.SerializeToString())


def values(answer: bytes) -> list[int]:
    return list(message("inference.ModelInferResponse").FromString(answer).outputs[0].contents.int64_contents)


def logger(collector: Model, **fields: Any) -> Logger:
    return Logger(f"http://127.0.0.1:{collector.endpoint.port}/", service="m", namespace="ns", component="predictor", **fields)


async def test_a_calls_messages_become_events(world: World, caller: Caller, collector: Model) -> None:
    serve(world, await caller.replica(), logger=logger(collector, headers=("x-user",)))
    answer = await caller.unary(INFER, question(1, 2), metadata=(("x-user", "me"), ("ce-id", "mine")))
    assert values(answer) == [2, 4]
    await until(lambda: len(collector.calls) == 2)
    events = {headers["ce-type"].rpartition(".")[2]: (headers, body) for headers, body in collector.calls}
    assert (events["request"][1], events["response"][1]) == (question(1, 2), answer)
    for headers, _ in events.values():
        assert (headers["ce-id"], headers["content-type"], headers["ce-source"]) == ("mine", "application/protobuf", "/ns/m")
        assert json.loads(headers["ce-metadata"]) == {":path": [INFER], "x-user": ["me"]}


async def test_compressed_messages_are_logged_as_they_are_meant(world: World, caller: Caller, collector: Model) -> None:
    serve(world, await caller.replica(), logger=logger(collector, responses=False))
    await caller.unary(INFER, question(*[7] * 100), compression=grpc.Compression.Gzip)
    await until(lambda: collector.calls)
    assert collector.calls[0][1] == question(*[7] * 100)


async def test_questions_streams_and_failures_are_not_logged(world: World, caller: Caller, collector: Model) -> None:
    serve(world, await caller.replica("r"), logger=logger(collector))
    await caller.unary("/inference.GRPCInferenceService/ServerLive")
    call = caller.stream("mirror")
    for number in range(3):
        await call.write(b"%d" % number)
        assert await call.read() == b"r%d" % number
    await call.done_writing()
    assert await call.read() is aio.EOF
    with pytest.raises(aio.AioRpcError):
        await caller.unary("fail", b"x")
    await caller.unary("echo", b"last")
    await until(lambda: len(collector.calls) == 3)
    assert sorted((headers["ce-type"].rpartition(".")[2], body) for headers, body in collector.calls) == [
        ("request", b"last"),
        ("request", b"x"),
        ("response", b"last"),
    ]
    log = sidecar(world).log
    assert log is not None
    assert log.dropped == 0


async def test_what_is_too_long_to_be_copied_passes_and_is_counted(world: World, caller: Caller, collector: Model) -> None:
    serve(world, await caller.replica(), logger=logger(collector))
    big = bytes(5_000_000)
    assert await caller.unary("echo", big) == big
    log = sidecar(world).log
    assert log is not None
    await until(lambda: log.dropped == 2)
    assert not collector.calls
    assert world.gateway.budget.take(64 * 1024 * 1024), "everything was given back"


async def test_a_mirror_gets_the_call_too(world: World, caller: Caller) -> None:
    real, copy = await caller.replica(), await caller.replica("torchserve/pod-b")
    mirrors = (Mirror("copies"), Mirror("nobody"))
    serve(world, real, Backend("copies", (copy.endpoint,)), Backend("nobody", ()), mirrors=mirrors)
    assert values(await caller.unary(INFER, question(1), metadata=(("x-mine", "1"),))) == [2]
    await until(lambda: copy.calls and not world.gateway.copies_under_way)
    assert (copy.calls[0][0], copy.calls[0][1]["x-mine"], world.gateway.copies_dropped) == (INFER, "1", 1)


async def test_a_shadow_is_asked_the_same_and_compared(world: World, caller: Caller) -> None:
    real, shadow = await caller.replica(), await caller.replica("torchserve/pod-b")
    serve(world, real, Backend("ns/other", (shadow.endpoint,)), shadow=Shadow("other", ("ns/other",)))
    assert values(await caller.unary(INFER, question(1))) == [2]
    seen = sidecar(world).comparison
    await until(lambda: seen.same == 1)  # names and ids differ, answers don't
    shadow.factor = 3
    assert values(await caller.unary(INFER, question(1))) == [2]
    await until(lambda: seen.different == 1)
    assert seen.last.startswith(f"POST {INFER}: the bodies differ")
    await shadow.stop()
    assert values(await caller.unary(INFER, question(1))) == [2]
    await until(lambda: seen.different == 2)
    assert seen.last == f"POST {INFER}: status 200, the shadow's 503"


async def test_streams_are_not_compared_but_a_stream_of_answers_is(world: World, caller: Caller) -> None:
    real, shadow = await caller.replica("r"), await caller.replica("r")
    serve(world, real, Backend("ns/other", (shadow.endpoint,)), shadow=Shadow("other", ("ns/other",)))
    seen = sidecar(world).comparison

    async def requests(*each: bytes) -> AsyncIterator[bytes]:
        for request in each:
            yield request

    assert [answer async for answer in caller.stream("count", requests(b"3"))] == [b"0", b"1", b"2"]
    await until(lambda: seen.same == 1)
    assert [answer async for answer in caller.stream("count", requests(b"1", b"1"))] == [b"0", b"0"]
    await until(lambda: seen.dropped == 1)
    assert len(shadow.calls) == 1


async def test_a_copy_that_never_ends_is_cut(monkeypatch: pytest.MonkeyPatch, world: World, caller: Caller) -> None:
    monkeypatch.setattr(copies, "COPY_SECONDS_MAX", 0.1)
    real, shadow = await caller.replica(), await caller.replica()
    shadow.is_stuck = True
    serve(world, real, Backend("ns/other", (shadow.endpoint,)), shadow=Shadow("other", ("ns/other",)))
    assert values(await caller.unary(INFER, question(1))) == [2]
    seen = sidecar(world).comparison
    await until(lambda: seen.dropped == 1)
    await asyncio.wait_for(shadow.cancelled.wait(), 10)
    assert (world.gateway.copies_under_way, len(world.gateway.active)) == (0, 0)


async def test_a_client_that_cancels_is_cancelled_at_the_replica(world: World, caller: Caller, collector: Model) -> None:
    replica = await caller.replica()
    serve(world, replica, logger=logger(collector))
    call = asyncio.ensure_future(caller.unary("hang", b"x"))
    await until(lambda: replica.calls)
    call.cancel()
    await asyncio.wait_for(replica.cancelled.wait(), 10)
    await until(lambda: not world.gateway.active)
    assert world.gateway.budget.take(64 * 1024 * 1024), "everything was given back"
