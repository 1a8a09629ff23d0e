"""From an InferenceService to a confirmed route, and on to the next revision."""

from __future__ import annotations

from tests.control.controllers.world import World, is_ready, told, traffic

FIRST, SECOND, THIRD = (f"mnist-predictor-0000{number}" for number in (1, 2, 3))


async def test_a_service_becomes_ready_when_the_gateway_has_confirmed_its_pod(world: World) -> None:
    await world.apply("mnist")
    world.gateway.open.clear()
    await world.make_ready(FIRST)
    await world.until("mnist", lambda service: told(service, "PredictorReady")[0] == "True")
    assert not is_ready(await world.service("mnist"))
    world.gateway.open.set()
    service = await world.until("mnist", is_ready)
    assert world.gateway.endpoints("mnist.ns.localhost") == {f"ns/{(await world.pods(FIRST))[0]['metadata']['name']}": 100}
    assert traffic(service) == {FIRST: 100}
