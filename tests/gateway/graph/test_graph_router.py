"""The router on real sockets: what it sends, what it says when a service fails, what it bounds."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest

from flambeau.foundation.http1 import Connection, Head, Server
from flambeau.gateway.graph import calls, router
from flambeau.gateway.graph.calls import Gateway, Services
from flambeau.gateway.graph.router import Router, RouterLimits
from flambeau.gateway.graph.run import Run
from flambeau.gateway.graph.spec import parse


class Asked:
    """One request that a service got; the path says what it does."""

    def __init__(self, service: Service, head: Head, connection: Connection) -> None:
        self.service, self.head, self.connection = service, head, connection
        self.body = b""

    def on_body(self, data: bytes) -> None:
        self.body += data

    def on_end(self) -> None:
        headers = {name.decode().lower(): value.decode() for name, value in self.head.headers}
        self.service.asked.append((self.head.host, headers))
        self.service.came.set()
        path = self.head.path
        if path == b"/hang":
            return
        if path == b"/cut":
            self.connection.abort()
        elif path == b"/large":
            self.connection.respond(200, [], b"x" * 200)
        else:
            self.connection.respond(200, [], b'{"predictions":%b}' % self.body)

    def on_abort(self) -> None:
        self.service.left.set()

    def on_writable(self, writable: bool) -> None:
        pass


class Service:
    """A service of the graph."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, dict[str, str]]] = []
        self.peers: set[str] = set()
        self.came, self.left = asyncio.Event(), asyncio.Event()

    def application(self, head: Head, connection: Connection) -> Asked:
        self.peers.add(connection.peer_address)
        return Asked(self, head, connection)


class World:
    """A router with one service, which is the gateway, too."""

    def __init__(self, service: Service, port: int, client: httpx2.AsyncClient, made: Router) -> None:
        self.service, self.port, self.client, self.router = service, port, client, made

    def serve(self, *urls: str, kind: str = "Sequence") -> None:
        steps = [{"serviceUrl": url.replace("SERVICE", f"127.0.0.1:{self.port}")} for url in urls]
        self.router.graph = parse(json.dumps({"nodes": {"root": {"routerType": kind, "steps": steps}}}))

    async def ask(self, body: Any = 1, **headers: str) -> tuple[int, Any]:
        answer = await self.client.post("/", content=json.dumps(body), headers=headers)
        return answer.status_code, answer.json()


@pytest.fixture
async def world() -> AsyncIterator[World]:
    service = Service()
    async with contextlib.AsyncExitStack() as stack:
        behind = Server(service.application)
        _, port = await behind.start(host="127.0.0.1", port=0)
        stack.push_async_callback(behind.close)
        services = Services(Gateway("127.0.0.1", port), lambda host: host.endswith(".svc.cluster.local"), seconds_max=10)
        start = parse('{"nodes":{"root":{"routerType":"Sequence","steps":[{"serviceUrl":"http://x/"}]}}}')
        made = Router(start, services, [re.compile("x-own-.*")], RouterLimits(seconds=20))
        front = Server(made.application)
        _, own_port = await front.start(host="127.0.0.1", port=0)
        made.start()
        stack.push_async_callback(made.close)
        stack.push_async_callback(front.close)
        client = await stack.enter_async_context(httpx2.AsyncClient(base_url=f"http://127.0.0.1:{own_port}", trust_env=False, timeout=30))
        yield World(service, port, client, made)


async def test_names_inside_the_cluster_go_through_the_gateway(world: World) -> None:
    world.serve("http://a.ns.svc.cluster.local/v1/models/a:predict")
    assert await world.ask() == (200, {"predictions": 1})
    assert world.service.asked[0][0] == "a.ns.svc.cluster.local"


async def test_connections_are_kept(world: World) -> None:
    world.serve(*["http://SERVICE/"] * 3)
    for _ in range(5):
        assert (await world.ask())[0] == 200
    assert len(world.service.asked) == 15
    assert len(world.service.peers) == 1


async def test_only_what_is_named_goes_along(world: World) -> None:
    world.serve("http://SERVICE/")
    await world.ask(**{"X-Own-A": "1", "X-Other": "2", "X-Request-Id": "id", "Content-Type": "text/plain", "Authorization": "secret"})
    _, headers = world.service.asked[0]
    assert (headers["x-own-a"], headers["x-request-id"], headers["content-type"]) == ("1", "id", "application/json")
    assert not {"x-other", "authorization"} & headers.keys()


@pytest.mark.parametrize(("path", "why"), [("cut", "closed the connection before it answered"), ("large", "more than 100 bytes|200 bytes")])
async def test_a_service_that_fails_is_named(world: World, monkeypatch: pytest.MonkeyPatch, path: str, why: str) -> None:
    monkeypatch.setattr(calls, "ANSWER_BYTES_MAX", 100)
    world.serve(f"http://SERVICE/{path}")
    status, said = await world.ask()
    assert (status, said["error"]) == (500, "Failed to process request")
    assert re.search(why, said["cause"])
    assert f"/{path}" in said["cause"]


async def test_a_service_that_is_not_there_is_named(world: World) -> None:
    probe = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
    port = probe.sockets[0].getsockname()[1]
    probe.close()
    await probe.wait_closed()
    world.serve(f"http://127.0.0.1:{port}/")
    status, said = await world.ask()
    assert status == 500
    assert f"cannot connect to http://127.0.0.1:{port}/: Connection refused" in said["cause"]


async def test_time_is_bounded(world: World) -> None:
    world.serve("http://SERVICE/hang")
    world.router.limits = RouterLimits(seconds=0.2)
    status, said = await world.ask()
    assert (status, said["cause"]) == (504, "the graph has not answered within 0.2 s")
    await asyncio.wait_for(world.service.left.wait(), 10)


async def test_who_leaves_takes_the_calls_along(world: World) -> None:
    world.serve("http://SERVICE/hang")
    asking = asyncio.create_task(world.ask())
    await asyncio.wait_for(world.service.came.wait(), 10)
    asking.cancel()
    await asyncio.wait_for(world.service.left.wait(), 10)


async def test_bodies_are_bounded(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(router, "BODY_BYTES_MAX", 10)
    world.serve("http://SERVICE/")
    assert (await world.ask("x" * 20))[0] == 413

    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(4):
            yield b'"xxxxx"'

    assert (await world.client.post("/", content=pieces())).status_code == 413
    assert world.service.asked == []


async def test_requests_are_bounded(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(router, "REQUESTS_MAX", 1)
    world.serve("http://SERVICE/hang")
    asking = asyncio.create_task(world.ask())
    await asyncio.wait_for(world.service.came.wait(), 10)
    answer = await world.client.post("/", content="1")
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    asking.cancel()


@pytest.mark.parametrize("path", ["/readyz", "/v2/health/ready"])
async def test_health(world: World, path: str) -> None:
    assert (await world.client.get(path)).status_code == 200


async def test_other_methods_are_told_what_to_do(world: World) -> None:
    answer = await world.client.get("/")
    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")


async def test_json_that_cannot_be_written_again_is_handed_on_as_it_is(world: World) -> None:
    url = f"http://127.0.0.1:{world.port}/"
    steps = [{"serviceUrl": url}, {"serviceUrl": url, "data": "$response"}]
    world.router.graph = parse(json.dumps({"nodes": {"root": {"routerType": "Sequence", "steps": steps}}}))
    deep = "[" * 500 + "]" * 500
    answer = await world.client.post("/", content=deep)
    assert (answer.status_code, answer.text) == (200, f'{{"predictions":{{"predictions":{deep}}}}}')


async def test_a_defect_of_the_router_is_answered(world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    async def fails(self: Run, request: bytes) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(Run, "answer", fails)
    status, said = await world.ask()
    assert (status, "ZeroDivisionError" in said["cause"]) == (500, True)
    assert "failed by a defect" in caplog.text
