"""Following a kind for ever."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path

import pytest

from flambeau.control.resources.kind import Key, Object
from flambeau.control.store.follow import follow
from flambeau.control.store.interface import Change, modify
from flambeau.control.store.sqlite import SqliteStore
from flambeau.foundation.clock import SystemClock


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    store = SqliteStore.open(tmp_path / "store.db", history_changes_max=5)
    yield store
    store.close()


def namespace(name: str) -> Object:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}


async def label(store: SqliteStore, name: str, value: str) -> None:
    await modify(store, Key("namespaces", "", name), lambda obj: obj["metadata"].update(labels={"v": value}))


async def test_what_is_there_comes_first_and_then_every_change(store: SqliteStore) -> None:
    await store.create(namespace("a"))
    async with aclosing(follow(store, "namespaces", clock=SystemClock())) as events:
        event = await anext(events)
        assert (event.change, event.object["metadata"]["name"]) == (Change.ADDED, "a")
        await store.create(namespace("b"))
        await label(store, "a", "1")
        await store.delete(Key("namespaces", "", "b"))
        seen = [await anext(events) for _ in range(3)]
        assert [(event.change, event.object["metadata"]["name"]) for event in seen] == [
            (Change.ADDED, "b"),
            (Change.MODIFIED, "a"),
            (Change.DELETED, "b"),
        ]


async def test_what_was_lost_is_found_by_listing_again(store: SqliteStore) -> None:
    for name in ("changes", "goes", "stays"):
        await store.create(namespace(name))
    async with aclosing(follow(store, "namespaces", clock=SystemClock())) as events:
        for _ in range(3):
            await anext(events)
        # The follower hasn't opened its watch yet; by the time it does, the history no longer reaches back that far.
        await store.delete(Key("namespaces", "", "goes"))
        for number in range(10):
            await label(store, "changes", str(number))
        await store.create(namespace("comes"))
        seen = {}
        for _ in range(3):
            event = await anext(events)
            seen[event.object["metadata"]["name"]] = event.change
        assert seen == {"goes": Change.DELETED, "changes": Change.MODIFIED, "comes": Change.ADDED}
