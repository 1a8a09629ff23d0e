"""The annotation serving.kserve.io/stop: no pods, no answers, but everything kept for the next start."""

from __future__ import annotations

from flambeau.control.controllers.names import REVISIONS
from flambeau.control.resources.kind import Key, Object
from flambeau.control.store.interface import modify
from tests.control.controllers.world import NAMESPACE, World, is_ready, told, traffic

FIRST = "mnist-predictor-00001"
SERVICE = Key("inferenceservices.serving.kserve.io", NAMESPACE, "mnist")


async def stop(world: World, value: str) -> None:
    def change(service: Object) -> None:
        service["metadata"].setdefault("annotations", {})["serving.kserve.io/stop"] = value

    await modify(world.store, SERVICE, change)


async def test_a_stopped_service_has_no_pods_and_says_so_and_starts_as_it_was(world: World) -> None:
    await world.apply("mnist")
    await world.make_ready(FIRST)
    await world.until("mnist", is_ready)
    await stop(world, "true")
    service = await world.until("mnist", lambda service: told(service, "Stopped")[0] == "True")
    assert told(service, "Ready")[:2] == told(service, "PredictorReady")[:2] == ("False", "Stopped")
    assert "take the annotation serving.kserve.io/stop away" in told(service, "Ready")[2]
    assert (traffic(service), "url" in service["status"]) == ({}, False)
    await world.finish(FIRST)

    await stop(world, "false")
    await world.make_ready(FIRST)
    service = await world.until("mnist", lambda service: is_ready(service) and traffic(service) == {FIRST: 100})
    assert told(service, "Stopped")[0] == "False"
    assert len((await world.store.list(REVISIONS)).items) == 1
