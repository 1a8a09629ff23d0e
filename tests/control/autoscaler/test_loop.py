"""The autoscaler on a real store and in virtual time; a double of the gateway's admin door tells the load."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from flambeau.control.autoscaler.loop import Autoscaler
from flambeau.control.resources.builtin import builtin_objects
from flambeau.control.resources.kind import Key, Object
from flambeau.control.store.interface import modify
from flambeau.control.store.sqlite import SqliteStore
from tests.control.controllers.world import VirtualClock
from tests.fixtures.waiting import until_told

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
                await self.scaler.tick()

    async def wish(self) -> Any:
        return (await self.store.get(AUTOSCALER))["status"]["desiredScale"]


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    here = World(tmp_path)
    yield here
    await here.close()


async def test_a_new_revision_gets_its_initial_scale(world: World) -> None:
    await world.start(initial_scale="2")
    await world.scaler.tick()
    assert await world.wish() == 2
    owner = (await world.store.get(AUTOSCALER))["metadata"]["ownerReferences"][0]
    assert (owner["kind"], owner["name"]) == ("Revision", NAME)


async def test_load_brings_replicas_and_their_numbers_are_told(world: World) -> None:
    await world.start(target="10", target_utilization_percentage="100", max_scale="5")
    await world.scaler.tick()
    await world.ready(1)
    await world.seconds(4, concurrency=34.0)
    assert await world.wish() == 4
    active = (await world.store.get(AUTOSCALER))["status"]["conditions"][0]
    assert "target 10 = 4" in active["message"]


async def test_silence_leads_to_zero_and_a_wake_back(world: World) -> None:
    await world.start(min_scale="0", window="6s")
    await world.scaler.tick()
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
    await world.scaler.tick()
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
    await world.scaler.tick()
    await world.ready(1)
    await world.seconds(12, concurrency=38.0)
    assert await world.wish() == 4
    await world.ready(4)
    world.scaler = Autoscaler(world.store, world.home, world.clock)
    await world.seconds(4)  # it hears nothing at first
    assert await world.wish() == 4
    for replicas in (2, 1):  # no faster down than by half
        await world.seconds(10)
        assert await world.wish() == replicas
        await world.ready(replicas)
    await world.seconds(10)
    assert await world.wish() == 0
    await world.ready(0)
    world.scaler = Autoscaler(world.store, world.home, world.clock)
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
