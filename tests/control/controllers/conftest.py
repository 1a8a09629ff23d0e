"""A world for each test, with nothing left of it afterwards."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from flambeau.control.store.sqlite import SqliteStore
from tests.control.controllers.world import VirtualClock, World


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    clock = VirtualClock()
    store = SqliteStore.open(tmp_path / "store.db", clock=clock)
    world = World(store, clock, tmp_path)
    await world.start()
    yield world
    await world.stop()
    store.close()
