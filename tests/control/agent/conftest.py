"""A world for each test, with nothing left of it afterwards."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from flambeau.control.store.sqlite import SqliteStore
from tests.control.agent.world import World, namespace


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    store = SqliteStore.open(tmp_path / "store.db")
    await store.create(namespace("ns"))
    world = World(store, tmp_path)
    yield world
    for agent in world.agents:
        await agent.stop(kill_pods=True)
    world.store.close()
