from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from flambeau.control.resources.kind import Key, Object
from flambeau.control.store import recorder
from flambeau.control.store.recorder import record_event
from flambeau.control.store.sqlite import SqliteStore


class SteppedClock:
    """A clock that stands still until told."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def monotonic(self) -> float:
        return self.now

    def wall(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    store = SqliteStore.open(tmp_path / "store.db")
    await store.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "home"}})
    yield store
    store.close()


@pytest.fixture
async def pod(store: SqliteStore) -> Object:
    return await store.create({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "namespace": "home"}})


@pytest.fixture
def clock() -> SteppedClock:
    return SteppedClock()


async def events(store: SqliteStore) -> tuple[Object, ...]:
    return (await store.list("events", "home")).items


async def test_saying_it_again_raises_the_count(store: SqliteStore, pod: Object, clock: SteppedClock) -> None:
    for text in ("first", "second", "third"):
        await record_event(store, clock, pod, "Warning", "BackOff", text, "agent")
        clock.now += 60
    (event,) = await events(store)
    assert (event["count"], event["message"]) == (3, "third")
    assert event["firstTimestamp"] < event["lastTimestamp"]
    assert event["involvedObject"]["uid"] == pod["metadata"]["uid"]


async def test_other_reasons_and_components_are_other_events(store: SqliteStore, pod: Object, clock: SteppedClock) -> None:
    await record_event(store, clock, pod, "Normal", "Started", "it runs", "agent")
    await record_event(store, clock, pod, "Normal", "Killing", "it goes", "agent")
    await record_event(store, clock, pod, "Normal", "Killing", "it goes", "revision-controller")
    assert len(await events(store)) == 3


async def test_old_ones_go(store: SqliteStore, pod: Object, clock: SteppedClock) -> None:
    await record_event(store, clock, pod, "Normal", "Started", "it runs", "agent")
    clock.now += recorder.EVENT_SECONDS_MAX + 1
    await record_event(store, clock, pod, "Normal", "Killing", "it goes", "agent")
    await recorder.drop_old_events(store, "home", clock.now)
    assert [event["reason"] for event in await events(store)] == ["Killing"]


async def test_there_are_only_so_many(store: SqliteStore, pod: Object, clock: SteppedClock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorder, "EVENTS_PER_NAMESPACE_MAX", 3)
    for number in range(5):
        await record_event(store, clock, pod, "Normal", f"Reason{number}", "something", "agent")
        clock.now += 1
    assert {event["reason"] for event in await events(store)} == {"Reason2", "Reason3", "Reason4"}


async def test_when_it_is_full_some_go_at_once(
    store: SqliteStore, pod: Object, clock: SteppedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recorder, "EVENTS_PER_NAMESPACE_MAX", 100)
    for number in range(101):
        await record_event(store, clock, pod, "Normal", f"Reason{number}", "something", "agent")
        clock.now += 1
    assert {event["reason"] for event in await events(store)} == {f"Reason{number}" for number in range(4, 101)}


async def test_a_namespace_that_is_going_takes_none(store: SqliteStore, clock: SteppedClock) -> None:
    pod = await store.create({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "namespace": "home", "finalizers": ["x/y"]}})
    await store.delete(Key("namespaces", "", "home"))
    await record_event(store, clock, pod, "Normal", "Killing", "it goes", "agent")
    assert await events(store) == ()
