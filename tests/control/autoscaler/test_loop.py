"""The autoscaler on a real store and in virtual time; a double of the gateway's admin door tells the load."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from flambeau.control.autoscaler import loop
from flambeau.control.autoscaler.decide import Decision, Memory, Observed, ScaleSettings, decide
from flambeau.control.autoscaler.loop import Autoscaler
from flambeau.control.autoscaler.settings import Scaling, scaling_of
from flambeau.control.resources.builtin import builtin_objects
from flambeau.control.resources.kind import Key, Object
from flambeau.control.store.interface import modify
from flambeau.control.store.sqlite import SqliteStore
from tests.control.controllers.world import VirtualClock
from tests.fixtures.waiting import until_told

HEARD_TURNS = 20
"""Turns of the loop after which watchers have heard of what was written."""
NAME = "m-predictor-00001"
REVISION = Key("revisions.serving.knative.dev", "default", NAME)
AUTOSCALER = Key("podautoscalers.autoscaling.internal.knative.dev", "default", NAME)


class World:
    """A store with one revision, a gateway that says what a test wants, and the autoscaler."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.clock = VirtualClock()
        self.store = SqliteStore.open(home / "store.db")
        self.load, self.present = 0.0, 0
        self.wake = asyncio.Event()
        self.scaler = Autoscaler(self.store, home, self.clock)
        self._server: asyncio.Server | None = None

    async def start(self, **annotations: str) -> None:
        for obj in builtin_objects(gateway_port=8000):
            await self.store.create(obj)
        (self.home / "gateway").mkdir()
        self._server = await asyncio.start_unix_server(self._answer, self.home / "gateway" / "admin.sock")
        named = {f"autoscaling.knative.dev/{name.replace('_', '-')}": value for name, value in annotations.items()}
        labels = {"serving.kserve.io/inferenceservice": "m", "serving.knative.dev/routingState": "active"}
        metadata = {"name": NAME, "namespace": "default", "annotations": named, "labels": labels}
        spec = {"containers": [{"name": "kserve-container", "image": "x"}]}
        self.scaler.follow()
        await self.store.create({"apiVersion": "serving.knative.dev/v1", "kind": "Revision", "metadata": metadata, "spec": spec})

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        if head.startswith(b"GET /wakes"):
            writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\n\n\r\n")
            await self.wake.wait()
            line = f"default/{NAME}\n".encode()
            writer.write(b"%x\r\n%b\r\n" % (len(line), line))
            await writer.drain()
        else:
            told = {"begun": 0, "load_seconds": self.load, "waiting": self.present}
            body = orjson.dumps({"seconds": self.clock.monotonic(), "backends": {f"default/{NAME}": told}})
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body))
            await writer.drain()
        writer.close()

    async def close(self) -> None:
        await self.scaler.stop()
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()
        self.store.close()

    async def ready(self, replicas: int) -> None:
        """Let the revision have so many ready pods."""

        def change(revision: Object) -> None:
            revision["status"] = {"actualReplicas": replicas}

        await modify(self.store, REVISION, change, status=True)

    async def seconds(self, count: int, concurrency: float = 0.0) -> None:
        """Let time pass under a load."""
        for second in range(count):
            self.clock.advance(1.0)
            self.load += concurrency
            await self.scaler.sample()
            if second % 2:
                await self.tick()

    async def tick(self) -> None:
        """Decide once everything that was written has been heard of."""
        for _ in range(HEARD_TURNS):
            await asyncio.sleep(0)
        await self.scaler.tick()

    async def restart(self) -> None:
        """Begin with an autoscaler that remembers nothing."""
        await self.scaler.stop()
        self.scaler = Autoscaler(self.store, self.home, self.clock)
        self.scaler.follow()

    async def wish(self) -> Any:
        return (await self.store.get(AUTOSCALER))["status"]["desiredScale"]


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    here = World(tmp_path)
    yield here
    await here.close()


async def test_a_new_revision_gets_its_initial_scale(world: World) -> None:
    await world.start(initial_scale="2")
    await world.tick()
    assert await world.wish() == 2
    owner = (await world.store.get(AUTOSCALER))["metadata"]["ownerReferences"][0]
    assert (owner["kind"], owner["name"]) == ("Revision", NAME)


async def test_load_brings_replicas_and_their_numbers_are_told(world: World) -> None:
    await world.start(target="10", target_utilization_percentage="100", max_scale="5")
    await world.tick()
    await world.ready(1)
    await world.seconds(4, concurrency=34.0)
    assert await world.wish() == 4
    active = (await world.store.get(AUTOSCALER))["status"]["conditions"][0]
    assert "target 10 = 4" in active["message"]


async def test_silence_leads_to_zero_and_a_wake_back(world: World) -> None:
    await world.start(min_scale="0", window="6s")
    await world.tick()
    await world.ready(1)
    await world.seconds(4, concurrency=1.0)
    await world.seconds(10)
    assert await world.wish() == 0
    await world.ready(0)
    await world.seconds(20)
    assert await world.wish() == 0
    await world.scaler.wake(REVISION)
    assert await world.wish() == 1


async def test_a_wake_is_heard_from_the_gateway(world: World) -> None:
    await world.start(min_scale="0", window="6s")
    await world.tick()
    await world.ready(1)
    await world.seconds(12)
    await world.ready(0)
    assert await world.wish() == 0
    await world.scaler.start()
    world.wake.set()

    async def woken() -> bool:
        return bool(await world.wish() == 1)

    await until_told(woken, seconds=10)


async def test_a_restart_neither_wakes_what_sleeps_nor_takes_from_what_works(world: World) -> None:
    await world.start(min_scale="0", window="6s", target="10", target_utilization_percentage="100")
    await world.tick()
    await world.ready(1)
    await world.seconds(12, concurrency=38.0)
    assert await world.wish() == 4
    await world.ready(4)
    await world.restart()
    await world.seconds(4)  # it hears nothing at first
    assert await world.wish() == 4
    for replicas in (2, 1):  # no faster down than by half
        await world.seconds(10)
        assert await world.wish() == replicas
        await world.ready(replicas)
    await world.seconds(10)
    assert await world.wish() == 0
    await world.ready(0)
    await world.restart()
    await world.seconds(20)
    assert await world.wish() == 0


async def test_what_a_horizontal_autoscaler_wishes_is_the_revisions(world: World) -> None:
    await world.start(target="10", target_utilization_percentage="100", max_scale="9")
    spec = {"scaleTargetRef": {"kind": "Deployment", "name": f"{NAME}-deployment"}, "minReplicas": 1, "maxReplicas": 9}
    autoscaler = {"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "spec": spec}
    stored = await world.store.create({**autoscaler, "metadata": {"name": "mine", "namespace": "default"}})
    await world.ready(1)
    await world.seconds(4, concurrency=80.0)
    assert await world.wish() == 1  # it has wished for nothing yet
    await world.store.update({**stored, "status": {"desiredReplicas": 3}}, status=True)
    await world.seconds(2, concurrency=80.0)
    assert await world.wish() == 3


async def test_a_request_wakes_what_a_horizontal_autoscaler_wishes_to_sleep(world: World) -> None:
    await world.start(min_scale="0", window="6s")
    spec = {"scaleTargetRef": {"kind": "Deployment", "name": f"{NAME}-deployment"}, "minReplicas": 0, "maxReplicas": 9}
    autoscaler = {"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "spec": spec}
    stored = await world.store.create({**autoscaler, "metadata": {"name": "mine", "namespace": "default"}})
    await world.store.update({**stored, "status": {"desiredReplicas": 0}}, status=True)
    await world.tick()
    assert await world.wish() == 1  # its first pod is to show that it works
    await world.ready(1)
    await world.seconds(10)
    assert await world.wish() == 0
    await world.ready(0)
    await world.scaler.wake(REVISION)
    assert await world.wish() == 1
    await world.ready(1)
    await world.seconds(4, concurrency=1.0)
    assert await world.wish() == 1
    await world.seconds(10)
    assert await world.wish() == 0


@pytest.mark.parametrize("value", ["nan", "inf", "-inf", "1e999", "many", ""])
async def test_a_number_that_is_none_counts_as_not_given(world: World, value: str) -> None:
    await world.start(min_scale=value, max_scale=value, target=value, window=value, scale_down_delay=value)
    await world.tick()
    assert await world.wish() == 1


async def test_one_revision_that_cannot_be_decided_leaves_the_others_scaled(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    await world.start()
    bad = await world.store.get(REVISION)
    name = "a-predictor-00001"  # comes first
    await world.store.create({**bad, "metadata": {"name": name, "namespace": "default", "labels": bad["metadata"]["labels"]}})
    wanted = scaling_of

    def fails(revision: Object, machine_max: int) -> Scaling:
        if revision["metadata"]["name"] == name:
            raise ZeroDivisionError
        return wanted(revision, machine_max)

    monkeypatch.setattr(loop, "scaling_of", fails)
    await world.tick()
    assert await world.wish() == 1


async def test_a_revision_at_rest_is_left_alone_until_something_changes(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    decided: list[int] = []

    def counted(observed: Observed, settings: ScaleSettings, memory: Memory, now: float) -> Decision:
        decided.append(observed.ready)
        return decide(observed, settings, memory, now)

    monkeypatch.setattr("flambeau.control.autoscaler.loop.decide", counted)

    async def decisions() -> int:
        decided.clear()
        await world.seconds(20)
        return len(decided)

    await world.start(min_scale="0", window="6s")
    await world.tick()
    await world.ready(1)
    await world.seconds(12)
    await world.ready(0)
    await world.seconds(4)
    assert await decisions() == 0
    await world.store.delete(AUTOSCALER)
    assert await decisions() > 0
    assert await world.wish() == 0
    await world.seconds(2, concurrency=3.0)
    assert await world.wish() == 1
