"""Pods become processes: started, probed, restarted, drained, adopted."""

from __future__ import annotations

from tests.control.agent.world import World, is_ready


async def test_a_pod_becomes_a_ready_process_and_goes_when_it_is_deleted(world: World) -> None:
    await world.agent()
    await world.store.create(world.pod("p", arguments=("--flag",)))
    pod = await world.until("p", is_ready)
    assert pod["status"]["podIP"].startswith("127.")
    print(pod["status"])
