"""What a server says of itself at its start and its end."""

from __future__ import annotations

from pathlib import Path

from flambeau.serving.dataplane import DataPlane
from flambeau.serving.repository import Repository
from flambeau.serving.workers.starter import FreshStarter


async def test_a_server_is_not_ready_before_its_models_are_known_nor_while_it_stops(tmp_path: Path) -> None:
    dataplane = DataPlane(Repository(tmp_path, FreshStarter()), is_starting=True)
    assert (dataplane.readiness().ready, dataplane.readiness().reason) == (False, "Starting")
    assert dataplane.health().ready is False
    dataplane.start_being_ready()
    assert dataplane.readiness().ready
    dataplane.stop_being_ready()
    assert (dataplane.readiness().ready, dataplane.readiness().reason) == (False, "Stopping")
