"""Requests for replicas that are asleep wait for the first one, bounded, in order; whoever listens hears of them."""

from __future__ import annotations

import asyncio

from flambeau.gateway import proxy
from tests.fixtures.waiting import until
from tests.gateway.conftest import NAME, World

REQUEST = b"GET /first HTTP/1.1\r\nHost: m\r\n\r\n"


async def test_a_request_waits_for_the_first_replica_and_wakes_it(world: World) -> None:
    woken: list[str] = []
    world.gateway.wakers.add(woken.append)
    world.serve(hold_seconds=30)
    asking = asyncio.create_task(world.client.ask(REQUEST))
    await until(lambda: woken, seconds=5)
    assert woken == [NAME]
    assert not asking.done()
    replica = await world.echo()
    world.serve(replica.endpoint, hold_seconds=30)
    assert (await asking).status == 200


async def test_a_reload_without_replicas_keeps_what_waits(world: World) -> None:
    world.serve(hold_seconds=30)
    asking = asyncio.create_task(world.client.ask(REQUEST))
    service = world.gateway.services[NAME]
    await until(lambda: service.waiting, seconds=5)
    world.serve(hold_seconds=30)
    assert len(service.waiting) == 1
    world.serve()  # it can't be woken any more
    answer = await asking
    assert (answer.status, b"no ready pod" in answer.body) == (503, True)


async def test_waiting_ends_with_the_timeout(world: World) -> None:
    world.serve(hold_seconds=0.2, timeout_seconds=0.2)
    answer = await world.client.ask(REQUEST)
    assert (answer.status, b"no replica was free within 0.2 s" in answer.body) == (503, True)
    assert not world.gateway.services[NAME].waiting


async def test_load_is_counted_while_a_request_waits(world: World) -> None:
    world.serve(hold_seconds=30)
    asking = asyncio.create_task(world.client.ask(REQUEST))
    service = world.gateway.services[NAME]
    await until(lambda: service.waiting, seconds=5)
    assert (service.present, service.begun) == (1, 1)
    before = service.load_seconds
    await asyncio.sleep(0.02)
    service.count(0, asyncio.get_running_loop().time())
    assert service.load_seconds - before >= 0.015
    replica = await world.echo()
    world.serve(replica.endpoint, hold_seconds=30)
    await asking
    await until(lambda: service.present == 0, seconds=5)


async def test_too_many_waiting_requests_are_refused(world: World) -> None:
    world.serve(hold_seconds=30)
    service = world.gateway.services[NAME]
    service.present = proxy.BACKEND_IN_FLIGHT_MAX
    assert (await world.client.ask(REQUEST)).status == 503
    service.present = 0
