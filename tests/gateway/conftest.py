"""A gateway with real replicas behind it, on loopback and both loops."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
import uvloop

from flambeau.foundation.http1 import Connection, Exchange, Head, Limits, Server
from flambeau.gateway.document import Backend, Destination, Document, Endpoint, Host, Rule
from flambeau.gateway.proxy import Gateway
from flambeau.gateway.table import Table
from tests.fixtures.raw_http import RawClient
from tests.gateway.grpc_caller import Caller

NAME = "torchserve/mnist-00001"
Script = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def pytest_asyncio_loop_factories(config: pytest.Config, item: pytest.Item) -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    if item.path.name in ("test_proxy.py", "test_upgrade.py", "test_http2.py"):
        return {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}
    return {"asyncio": asyncio.new_event_loop}


class Echo:
    """Answer what was asked; the path says how."""

    def __init__(self, replica: EchoReplica, head: Head, connection: Connection) -> None:
        self.replica = replica
        self.head = head
        self.connection = connection
        self.size = 0
        self.ended = False
        self.aborted = asyncio.Event()
        replica.exchanges.append(self)
        if head.path == b"/refuse":
            connection.respond(413, [], b"too large")

    def on_body(self, data: bytes) -> None:
        self.size += len(data)

    def on_end(self) -> None:
        self.ended = True
        if not self.head.path.startswith(b"/hang"):
            self.answer()

    def answer(self) -> None:
        said = {
            "replica": self.replica.name,
            "method": self.head.method,
            "target": self.head.target.decode(),
            "headers": {name.decode().lower(): value.decode() for name, value in self.head.headers},
            "size": self.size,
        }
        headers = [
            (b"content-type", b"application/json"),
            (b"x-from", b"replica"),
            (b"keep-alive", b"timeout=5"),
            (b"x-two", b"1"),
            (b"x-two", b"2"),
        ]
        self.connection.respond(204 if self.head.path == b"/nothing" else 200, headers, json.dumps(said).encode())

    def on_abort(self) -> None:
        self.aborted.set()

    def on_writable(self, writable: bool) -> None: ...


class EchoReplica:
    """A real HTTP server that stands for a pod."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.exchanges: list[Echo] = []
        self.server = Server(self._application, Limits())
        self.endpoint = Endpoint("127.0.0.1", 0, name)

    def _application(self, head: Head, connection: Connection) -> Exchange:
        return Echo(self, head, connection)

    async def start(self) -> EchoReplica:
        _, port = await self.server.start(host="127.0.0.1", port=0)
        self.endpoint = Endpoint("127.0.0.1", port, self.name)
        return self


class World:
    """The gateway under test, its replicas and a client."""

    def __init__(self) -> None:
        self.gateway = Gateway("gateway:8000")
        self.front = Server(self.gateway.application, Limits(linger_seconds=0.5), http2=self.gateway.http2)
        self.replicas: list[EchoReplica] = []
        self._scripts: list[tuple[asyncio.Server, list[asyncio.StreamWriter]]] = []
        self.version = 0

    async def start(self) -> None:
        self.gateway.start()
        _, port = await self.front.start(host="127.0.0.1", port=0)
        self.client = RawClient(port)
        self.port = port

    async def close(self) -> None:
        await self.client.close()
        await self.gateway.close()
        await self.front.close()
        for replica in self.replicas:
            await replica.server.close()
        for server, writers in self._scripts:
            server.close()
            for writer in writers:
                with contextlib.suppress(AttributeError):  # asyncio's abort() of a transport that closed once it had sent everything
                    writer.transport.abort()
                with contextlib.suppress(OSError):
                    await writer.wait_closed()
            await server.wait_closed()

    async def echo(self, name: str = "torchserve/pod-a") -> EchoReplica:
        """Start a replica that echoes."""
        replica = await EchoReplica(name).start()
        self.replicas.append(replica)
        return replica

    async def scripted(self, script: Script, name: str = "torchserve/pod-s") -> Endpoint:
        """Start a replica that does with each connection what a script says."""
        writers: list[asyncio.StreamWriter] = []

        async def run(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writers.append(writer)
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                await script(reader, writer)
            writer.close()

        server = await asyncio.start_server(run, "127.0.0.1", 0)
        self._scripts.append((server, writers))
        return Endpoint("127.0.0.1", server.sockets[0].getsockname()[1], name)

    async def dead(self, name: str = "torchserve/pod-dead") -> Endpoint:
        """Return an endpoint whose port refuses connections."""
        server = await asyncio.start_server(lambda reader, writer: None, "127.0.0.1", 0)
        endpoint = Endpoint("127.0.0.1", server.sockets[0].getsockname()[1], name)
        server.close()
        await server.wait_closed()
        return endpoint

    def serve(
        self,
        *endpoints: Endpoint,
        host: str = "m",
        concurrency: int = 0,
        timeout_seconds: float = 60.0,
        hold_seconds: float = 0.0,
        rule: Rule | None = None,
    ) -> None:
        """Load a document with one host and one backend."""
        self.version += 1
        why = "" if endpoints else "revision mnist-00001 has no ready pod"
        backend = Backend(NAME, endpoints, timeout_seconds, concurrency, hold_seconds, why)
        rules = (rule or Rule((Destination(weight=100, backend=NAME),), source="InferenceService torchserve/mnist"),)
        self.gateway.serve(Table(Document(self.version, (Host(host, rules),), (backend,))))


@pytest.fixture
async def world() -> AsyncIterator[World]:
    here = World()
    await here.start()
    try:
        yield here
    finally:
        await here.close()


@pytest.fixture
async def caller(world: World) -> AsyncIterator[Caller]:
    here = Caller(world)
    try:
        yield here
    finally:
        await here.close()
