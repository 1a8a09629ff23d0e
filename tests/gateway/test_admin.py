"""The doorbell and the dials, over the real Unix socket."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from flambeau.foundation.http1 import Server
from flambeau.gateway.admin import Admin
from flambeau.gateway.cluster_listeners import ClusterListeners
from flambeau.gateway.document import Backend, Destination, Document, Host, Logger, Rule
from flambeau.gateway.document_codec import encode
from flambeau.gateway.table import Table
from tests.fixtures.raw_http import Answer, read_answer
from tests.fixtures.waiting import until
from tests.gateway.conftest import NAME, World


class Door:
    def __init__(self, directory: Path) -> None:
        self.routes = directory / "routes.json"
        self.socket = directory / "admin.sock"
        self.port = 0
        """Where the gateway listens for clients."""

    async def ask(self, line: bytes) -> Answer:
        reader, writer = await asyncio.open_unix_connection(str(self.socket))
        writer.write(line + b" HTTP/1.1\r\nHost: gateway\r\nConnection: close\r\n\r\n")
        answer = await read_answer(reader)
        writer.close()
        await writer.wait_closed()
        return answer


@pytest.fixture
async def door(world: World, tmp_path: Path) -> AsyncIterator[Door]:
    here = Door(tmp_path)
    front = Server(world.gateway.application)
    here.port = (await front.start(host="127.0.0.1", port=0))[1]
    server = Server(Admin(world.gateway, here.routes, ClusterListeners(front, "127.0.0.1", here.port)).application)
    await server.start_unix(here.socket)
    yield here
    await server.close()
    await front.close()


def document(version: int, *backends: Backend) -> Document:
    rule = Rule((Destination(weight=100, backend=NAME),))
    return Document(version, (Host("m", (rule,)),), backends)


async def test_reload_answers_with_the_version_that_serves(world: World, door: Door) -> None:
    replica = await world.echo()
    door.routes.write_bytes(encode(document(7, Backend(NAME, (replica.endpoint,)))))
    answer = await door.ask(b"POST /reload")
    assert (answer.status, json.loads(answer.body)) == (200, {"version": 7})
    assert (await world.client.ask(b"GET / HTTP/1.1\r\nHost: m\r\n\r\n")).status == 200


async def test_a_reload_is_confirmed_when_the_replicas_that_go_have_answered(world: World, door: Door) -> None:
    """Whoever hears of it may stop them, and a program that ends at once would take its requests with it."""
    leaving, staying = await world.echo("a/leaving"), await world.echo("a/staying")
    door.routes.write_bytes(encode(document(7, Backend(NAME, (leaving.endpoint,)))))
    await door.ask(b"POST /reload")
    reader, writer = await world.client.open()
    writer.write(b"GET /hang HTTP/1.1\r\nHost: m\r\n\r\n")
    await until(lambda: leaving.exchanges)
    door.routes.write_bytes(encode(document(8, Backend(NAME, (staying.endpoint,)))))
    reload = asyncio.ensure_future(door.ask(b"POST /reload"))
    await until(lambda: world.gateway.table.version == 8)
    assert (await world.client.ask(b"GET / HTTP/1.1\r\nHost: m\r\n\r\n")).status == 200
    assert not reload.done()
    leaving.exchanges[0].answer()
    assert (await read_answer(reader)).status == 200
    assert json.loads((await reload).body) == {"version": 8}


async def test_a_reload_listens_at_the_addresses_that_services_have(world: World, door: Door) -> None:
    replica = await world.echo()
    address = "127.255.7.9"
    rule = Rule((Destination(weight=100, backend=NAME),))
    there = Document(8, (Host(address, (rule,)),), (Backend(NAME, (replica.endpoint,)),), (address,))
    for _ in range(2):
        door.routes.write_bytes(encode(there))
        assert (await door.ask(b"POST /reload")).status == 200
        reader, writer = await asyncio.open_connection(address, door.port)
        writer.write(b"GET / HTTP/1.1\r\nHost: %s:%d\r\nConnection: close\r\n\r\n" % (address.encode(), door.port))
        assert (await read_answer(reader)).status == 200
        writer.close()
        await writer.wait_closed()
        door.routes.write_bytes(encode(Document(9)))
        assert (await door.ask(b"POST /reload")).status == 200
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection(address, door.port)


@pytest.mark.parametrize(
    ("content", "reason", "told"),
    [
        (None, "NotFound", "there is no routes document"),
        (b"{", "Invalid", "not JSON"),
        (b'{"version": 8, "hosts": [], "backend": []}', "Invalid", "document.backend: unknown field"),
        (encode(document(8)), "Invalid", "there is no backend"),
    ],
)
async def test_a_bad_file_is_refused_and_the_old_table_stays(
    world: World, door: Door, content: bytes | None, reason: str, told: str
) -> None:
    world.serve((await world.echo()).endpoint)
    if content is not None:
        door.routes.write_bytes(content)
    answer = await door.ask(b"POST /reload")
    refusal = json.loads(answer.body)
    assert (answer.status, refusal["reason"], refusal["version"]) == (422, reason, 1)
    assert told in refusal["error"]
    assert (await world.client.ask(b"GET / HTTP/1.1\r\nHost: m\r\n\r\n")).status == 200


async def test_a_logger_that_cannot_be_is_told_and_holds_nothing_up(world: World, door: Door, caplog: pytest.LogCaptureFixture) -> None:
    replica = await world.echo()
    door.routes.write_bytes(
        encode(document(7, Backend(NAME, (replica.endpoint,), logger=Logger("ftp://nowhere", service="m", namespace="n"))))
    )
    assert (await door.ask(b"POST /reload")).status == 200
    assert f"backend {NAME} is not logged" in caplog.text
    assert (await world.client.ask(b"GET / HTTP/1.1\r\nHost: m\r\n\r\n")).status == 200


async def test_a_reload_that_fails_by_a_defect_is_answered(world: World, door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(table: Table) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(world.gateway, "serve", fails)
    door.routes.write_bytes(encode(document(7, Backend(NAME, ((await world.echo()).endpoint,)))))
    answer = await door.ask(b"POST /reload")
    assert (answer.status, "ZeroDivisionError" in answer.body.decode()) == (500, True)


async def test_status_shows_what_is_in_flight_and_ejected(world: World, door: Door) -> None:
    replica, dead = await world.echo("a/good"), await world.dead("a/bad")
    world.serve(replica.endpoint, dead)
    for _ in range(20):
        await world.client.ask(b"GET / HTTP/1.1\r\nHost: m\r\n\r\n")
    _, writer = await world.client.open()
    writer.write(b"GET /hang HTTP/1.1\r\nHost: m\r\n\r\n")
    await until(lambda: len(replica.exchanges) == 21)
    status: Any = json.loads((await door.ask(b"GET /status")).body)
    good, bad = status["backends"][NAME]["endpoints"]
    assert (status["version"], status["hosts"], status["backends"][NAME]["in_flight"]) == (1, 1, 1)
    assert (good["pod"], good["in_flight"], good["ejected_seconds"]) == ("a/good", 1, 0.0)
    assert bad["pod"] == "a/bad"
    assert bad["ejected_seconds"] > 0


async def test_metrics_are_prometheus_text(world: World, door: Door) -> None:
    world.serve((await world.echo()).endpoint)
    for request in (b"GET / HTTP/1.1\r\nHost: m\r\n\r\n", b"GET / HTTP/1.1\r\nHost: nobody\r\n\r\n"):
        await world.client.ask(request)
    text = (await door.ask(b"GET /metrics")).body.decode()
    samples = {(s.name, *s.labels.values()): s.value for family in text_string_to_metric_families(text) for s in family.samples}
    assert samples["flambeau_gateway_requests_total", NAME, "2xx"] == 1
    assert samples["flambeau_gateway_requests_total", "", "4xx"] == 1
    assert samples["flambeau_gateway_request_seconds_count", NAME] == 1
    assert samples["flambeau_gateway_request_seconds_bucket", NAME, "+Inf"] == 1
    assert samples["flambeau_gateway_in_flight", NAME] == 0
    assert samples["flambeau_gateway_waiting", NAME] == 0
    assert samples["flambeau_gateway_ejections_total", NAME] == 0


async def test_other_paths_name_what_there_is(world: World, door: Door) -> None:
    answer = await door.ask(b"GET /reload")
    assert answer.status == 404
    assert "POST /reload" in json.loads(answer.body)["hint"]


async def test_wakes_are_told_as_they_come(world: World, door: Door) -> None:
    reader, writer = await asyncio.open_unix_connection(str(door.socket))
    writer.write(b"GET /wakes HTTP/1.1\r\nHost: gateway\r\n\r\n")
    await reader.readuntil(b"\r\n\r\n1\r\n\n\r\n")
    world.serve(hold_seconds=0.3, timeout_seconds=0.3)
    await world.client.ask(b"GET / HTTP/1.1\r\nHost: m\r\n\r\n")
    assert NAME.encode() in await asyncio.wait_for(reader.readuntil(NAME.encode()), 5)
    writer.close()
    await writer.wait_closed()
    await until(lambda: not world.gateway.wakers, seconds=5)
