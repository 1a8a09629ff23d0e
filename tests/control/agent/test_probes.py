"""How a container is asked, and what its answers mean."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from flambeau.control.agent.machine import NO_ANSWER
from flambeau.control.agent.probes import OUR_PATH, Probe, Verdict, check, probe_for


@pytest.mark.parametrize(
    ("container", "ours", "wanted"),
    [
        ({}, True, Probe(8080, OUR_PATH, timeout_seconds=2.0, may_wait=True)),
        ({"ports": [{"containerPort": 9000}]}, False, Probe(9000, None)),
        ({"readinessProbe": {"httpGet": {"path": "/ready", "port": 81}, "timeoutSeconds": 3}}, False, Probe(81, "/ready", (), 3.0)),
        ({"readinessProbe": {"httpGet": {"port": 0}}}, False, Probe(8080, "/")),
        (
            {"readinessProbe": {"tcpSocket": {"port": "web"}}, "ports": [{"containerPort": 1}, {"name": "web", "containerPort": 2}]},
            False,
            Probe(2, None),
        ),
        ({"readinessProbe": {"exec": {"command": ["true"]}}}, False, Probe(8080, None, command=("true",))),
        ({"readinessProbe": {"grpc": {"port": 9}}}, False, Probe(9, None, grpc_service="")),
        (
            {"readinessProbe": {"tcpSocket": {"port": 1}, "periodSeconds": 5, "failureThreshold": 2, "initialDelaySeconds": 4}},
            False,
            Probe(1, None, delay_seconds=4, period_seconds=5, failures_max=2),
        ),
    ],
)
def test_a_container_is_asked_as_its_yaml_says(container: dict[str, Any], ours: bool, wanted: Probe) -> None:
    assert probe_for(container, ours=ours) == wanted


class Server:
    """Answers each connection with the same bytes."""

    def __init__(self) -> None:
        self.answer = b""
        self.port = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.write(self.answer)
        writer.close()


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    server = Server()
    listener = await asyncio.start_server(server.serve, "127.0.0.1", 0)
    server.port = listener.sockets[0].getsockname()[1]
    async with listener:
        yield server


@pytest.mark.parametrize(
    ("answer", "wanted"),
    [
        (b"HTTP/1.1 200 OK\r\n\r\n", Verdict(True)),
        (b"HTTP/1.1 302 Found\r\n\r\n", Verdict(True)),
        (b'HTTP/1.1 503 x\r\n\r\n{"reason":"ModelLoadFailed","message":"no"}', Verdict(False, "ModelLoadFailed", "no")),
        (b"HTTP/1.1 500 x\r\n\r\noops", Verdict(False, "Unhealthy", "readiness probe failed: GET /r answered 500")),
    ],
)
async def test_an_answer_is_a_verdict(server: Server, answer: bytes, wanted: Verdict) -> None:
    server.answer = answer
    assert await check("127.0.0.1", Probe(server.port, "/r")) == wanted


async def test_no_answer_is_told_as_such(server: Server) -> None:
    server.answer = b"SSH-2.0\r\n"
    verdict = await check("127.0.0.1", Probe(server.port, "/r"))
    assert (verdict.ready, verdict.reason) == (False, NO_ANSWER)
    assert "does not answer in HTTP" in verdict.message


async def test_a_port_that_takes_a_connection_is_enough_without_a_path(server: Server, unused_tcp_port: int) -> None:
    assert await check("127.0.0.1", Probe(server.port, None)) == Verdict(True)
    verdict = await check("127.0.0.1", Probe(unused_tcp_port, None))
    assert (verdict.reason, verdict.message) == (NO_ANSWER, f"readiness probe failed: 127.0.0.1:{unused_tcp_port}: Connection refused")
