"""Keys that wait: once each, never twice at once, failures later and later."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from flambeau.control.controllers.turns import Turns
from flambeau.control.controllers.workqueue import RETRY_SECONDS_MAX, WorkQueue, retry_seconds
from tests.control.controllers.world import VirtualClock


class Bench:
    """A queue whose handler does what the test says."""

    def __init__(self) -> None:
        self.clock = VirtualClock()
        self.started: list[str] = []
        self.errors: list[tuple[str, float]] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.failing = False
        self.again: float | None = None
        self.running = 0
        self.running_max = 0
        self.queue: WorkQueue[str] = WorkQueue("test", self.handle, self.clock, parallel_max=2, turns=Turns(), on_error=self.on_error)

    async def handle(self, key: str) -> float | None:
        self.started.append(key)
        self.running += 1
        self.running_max = max(self.running_max, self.running)
        try:
            await self.gate.wait()
        finally:
            self.running -= 1
        if self.failing:
            raise ValueError("no")
        return self.again

    async def on_error(self, key: str, _: Exception, pause: float) -> None:
        self.errors.append((key, pause))

    async def settle(self) -> None:
        for _ in range(20):
            await asyncio.sleep(0)


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    bench = Bench()
    yield bench
    await bench.queue.close()


async def test_a_key_that_waits_is_handled_once(bench: Bench) -> None:
    bench.queue.add("a")
    bench.queue.add("a")
    await bench.settle()
    # The first add started it, the second one came while it ran: once more, and no third time.
    assert bench.started == ["a", "a"]


async def test_one_key_is_never_handled_twice_at_once(bench: Bench) -> None:
    bench.gate.clear()
    for _ in range(3):
        bench.queue.add("a")
        await bench.settle()
    assert bench.started == ["a"]
    bench.gate.set()
    await bench.settle()
    assert bench.started == ["a", "a"]
    assert bench.running_max == 1


async def test_hands_are_bounded(bench: Bench) -> None:
    bench.gate.clear()
    for key in "abcde":
        bench.queue.add(key)
    await bench.settle()
    assert bench.started == ["a", "b"]
    bench.gate.set()
    await bench.settle()
    assert sorted(bench.started) == list("abcde")
    assert bench.running_max == 2


async def test_a_failure_is_tried_again_later_and_later(bench: Bench) -> None:
    bench.failing = True
    bench.queue.add("a")
    await bench.settle()
    for pause in (0.1, 0.2, 0.4):
        assert bench.errors[-1][1] == pytest.approx(pause)
        count = len(bench.started)
        bench.clock.advance(pause * 0.9)
        await bench.settle()
        assert len(bench.started) == count
        bench.clock.advance(pause * 0.2)
        await bench.settle()
        assert len(bench.started) == count + 1


async def test_news_ends_the_wait_after_a_failure(bench: Bench) -> None:
    bench.failing = True
    bench.queue.add("a")
    await bench.settle()
    bench.failing = False
    bench.queue.add("a")
    await bench.settle()
    assert bench.started == ["a", "a"]
    bench.clock.advance(60)
    await bench.settle()
    assert bench.started == ["a", "a"]


async def test_a_second_look_is_taken_when_it_was_asked_for(bench: Bench) -> None:
    bench.again = 5.0
    bench.queue.add("a")
    await bench.settle()
    bench.again = None
    bench.clock.advance(5.1)
    await bench.settle()
    assert bench.started == ["a", "a"]


def test_the_pause_is_bounded() -> None:
    assert retry_seconds(1) == pytest.approx(0.1)
    assert retry_seconds(1000) == RETRY_SECONDS_MAX
