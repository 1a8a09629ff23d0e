"""Port-forward and exec, with the real kubectl over WebSocket and over SPDY."""

from __future__ import annotations

import asyncio
import os
import re
import ssl
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection, BytesMessage
from wsproto.events import Request as WebSocketRequest

from flambeau.control.agent.directory import PodDirectory, PodId
from flambeau.control.store.interface import modify
from flambeau.foundation.processes import start_detached
from tests.control.apiserver.cluster import KUBECTL_SECONDS_MAX, Cluster, Kubectl, finish, key_of, lines, pod_object

pytestmark = pytest.mark.asyncio(loop_scope="session")

WEBSOCKET: dict[str, str] = {}
SPDY = {"KUBECTL_PORT_FORWARD_WEBSOCKETS": "false", "KUBECTL_REMOTE_COMMAND_WEBSOCKETS": "false"}
BOTH = pytest.mark.parametrize("env", [WEBSOCKET, SPDY], ids=["websocket", "spdy"])


@pytest_asyncio.fixture(loop_scope="session")
async def pod(cluster: Cluster, namespace: str) -> AsyncIterator[str]:
    """A pod whose process runs."""
    stored = await cluster.store.create(pod_object("worker", namespace))

    def run(obj: dict[str, object]) -> None:
        obj["status"] = {**pod_object("worker", namespace)["status"], "podIP": "127.0.0.1"}

    await modify(cluster.store, key_of(stored), run, status=True)
    directory = PodDirectory(cluster.home / "pods", PodId(namespace, "worker", stored["metadata"]["uid"]))
    directory.create()
    environment = {"PATH": os.environ["PATH"], "MODEL": "mnist"}
    process, record = start_detached(["sleep", "600"], environment=environment, directory=directory.work, log=directory.path / "log")
    directory.write_record("kserve-container", record)
    yield "worker"
    process.kill()
    process.wait()
    directory.remove()


@pytest_asyncio.fixture(loop_scope="session")
async def echo_port() -> AsyncIterator[int]:
    """A server that says everything back, and ends when its client does."""

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while piece := await reader.read(65536):
            writer.write(piece)
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


async def forward(kubectl: Kubectl, what: str, port: int, namespace: str, env: dict[str, str]) -> tuple[asyncio.subprocess.Process, int]:
    """Start a port-forward; return it and the local port."""
    process = await kubectl.start("port-forward", "-n", namespace, what, f":{port}", "--address=127.0.0.1", env=env)
    assert process.stdout is not None
    line = await asyncio.wait_for(process.stdout.readline(), KUBECTL_SECONDS_MAX)
    found = re.search(rb"127\.0\.0\.1:(\d+) ->", line)
    if found is None:
        process.kill()
        raise AssertionError(await finish(process))
    return process, int(found[1])


async def end(process: asyncio.subprocess.Process) -> str:
    process.terminate()
    return (await finish(process)).err


@BOTH
async def test_port_forward(kubectl: Kubectl, namespace: str, pod: str, echo_port: int, env: dict[str, str]) -> None:
    process, port = await forward(kubectl, f"pod/{pod}", echo_port, namespace, env)
    try:
        said = bytes(range(256)) * 4096

        async def ask() -> bytes:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            answering = asyncio.ensure_future(reader.readexactly(len(said)))
            writer.write(said)
            await writer.drain()
            answer = await answering
            writer.close()
            return answer

        answers = await asyncio.wait_for(asyncio.gather(*(ask() for _ in range(4))), KUBECTL_SECONDS_MAX)
        assert all(answer == said for answer in answers)
    finally:
        await end(process)


async def test_port_forward_says_why_a_port_is_not_reached(kubectl: Kubectl, namespace: str, pod: str) -> None:
    process, port = await forward(kubectl, f"pod/{pod}", 1, namespace, WEBSOCKET)
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        assert await asyncio.wait_for(reader.read(), KUBECTL_SECONDS_MAX) == b""
        writer.close()
        assert process.stderr is not None
        line = await asyncio.wait_for(process.stderr.readline(), KUBECTL_SECONDS_MAX)
        assert b"cannot reach port 1 of the pod at 127.0.0.1" in line
    finally:
        await end(process)


@BOTH
async def test_exec_has_the_containers_environment_and_tells_its_end(
    kubectl: Kubectl, namespace: str, pod: str, env: dict[str, str]
) -> None:
    script = "echo $MODEL; basename $PWD; cat; echo oops >&2; exit 3"
    result = await kubectl("exec", "-n", namespace, "-i", pod, "--", "sh", "-c", script, stdin="typed", env=env)
    assert result.out.split() == ["mnist", "work", "typed"]
    assert "oops" in result.err
    assert result.code == 3


@BOTH
async def test_exec_moves_much(kubectl: Kubectl, namespace: str, pod: str, env: dict[str, str]) -> None:
    command = [sys.executable, "-c", "import sys; sys.stdout.write('x' * 3_000_000)"]
    assert len(await kubectl.ok("exec", "-n", namespace, pod, "--", *command, env=env)) == 3_000_000


async def test_exec_refuses_what_it_cannot_run(kubectl: Kubectl, namespace: str, pod: str) -> None:
    missing = await kubectl("exec", "-n", namespace, pod, "--", "no-such-program")
    assert "there is no such program on this machine" in missing.err
    proxy = await kubectl("exec", "-n", namespace, pod, "-c", "queue-proxy", "--", "true")
    assert "has no process of its own" in proxy.err


async def test_a_command_ends_with_its_client(cluster: Cluster, kubectl: Kubectl, namespace: str, pod: str, tmp_path: Path) -> None:
    mark = tmp_path / "pid"
    process = await kubectl.start(
        "exec", "-n", namespace, pod, "--", "sh", "-c", f"echo $$ > {mark}.new; mv {mark}.new {mark}; exec sleep 600"
    )
    async with asyncio.timeout(KUBECTL_SECONDS_MAX):
        while not mark.exists():  # noqa: ASYNC110 - written by another process
            await asyncio.sleep(0.02)
        process.kill()
        await process.wait()
        while Path(f"/proc/{mark.read_text().strip()}").exists() or cluster.server.open_streams:  # noqa: ASYNC110 - another process
            await asyncio.sleep(0.02)


async def test_top_and_eviction(cluster: Cluster, kubectl: Kubectl, namespace: str, pod: str) -> None:
    [head, row] = lines(await kubectl.ok("top", "pods", "-n", namespace))
    assert head == ["NAME", "CPU(cores)", "MEMORY(bytes)"]
    assert row[0] == pod
    assert row[1].endswith("m")
    assert lines(await kubectl.ok("top", "pod", pod, "-n", namespace, "--containers"))[1][1] == "kserve-container"
    await cluster.store.create(pod_object("idle", namespace))
    assert "isn't running" in (await kubectl("top", "pod", "idle", "-n", namespace)).err
    evicted = await cluster.api(
        "POST",
        f"/api/v1/namespaces/{namespace}/pods/idle/eviction",
        {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "idle", "namespace": namespace}},
    )
    assert evicted.status_code == 201
    assert "NotFound" in (await kubectl("get", "pod", "idle", "-n", namespace)).err


async def test_ports_in_numbered_channels(cluster: Cluster, namespace: str, pod: str, echo_port: int) -> None:
    """As the Python client does it: two ports at once, of which one answers nobody."""
    context = ssl.create_default_context(cafile=str(cluster.home / "pki" / "ca.crt"))
    token = (cluster.home / "pki" / "token").read_text()
    closed_port = 1
    head = WebSocketRequest(
        host="localhost",
        target=f"/api/v1/namespaces/{namespace}/pods/{pod}/portforward?ports={echo_port},{closed_port}",
        subprotocols=["v4.channel.k8s.io"],
        extra_headers=[(b"authorization", f"Bearer {token}".encode())],
    )
    socket = WSConnection(ConnectionType.CLIENT)
    port = int(cluster.server.url.rpartition(":")[2])
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname="localhost")
    writer.write(socket.send(head))
    said: dict[int, bytes] = {}
    async with asyncio.timeout(KUBECTL_SECONDS_MAX):
        while said.get(0) != echo_port.to_bytes(2, "little") + b"hello" or b"cannot reach port 1 " not in said.get(3, b""):
            socket.receive_data(await reader.read(65536))
            for event in socket.events():
                if isinstance(event, AcceptConnection):
                    assert event.subprotocol == "v4.channel.k8s.io"
                    writer.write(socket.send(BytesMessage(data=b"\0hello")))
                elif isinstance(event, BytesMessage):
                    said[event.data[0]] = said.get(event.data[0], b"") + event.data[1:]
    writer.close()
    assert said[1] == echo_port.to_bytes(2, "little")
    assert said[2] == closed_port.to_bytes(2, "little")


async def test_ports_that_are_none(cluster: Cluster, namespace: str, pod: str) -> None:
    upgrade = {"upgrade": "websocket", "connection": "upgrade", "sec_websocket_protocol": "v4.channel.k8s.io", "sec_websocket_key": "eA=="}
    for ports in ("", "0", "65536", "x", "80,", ",".join(["80"] * 200)):
        answer = await cluster.api("GET", f"/api/v1/namespaces/{namespace}/pods/{pod}/portforward?ports={ports}", **upgrade)
        assert (answer.status_code, answer.json()["reason"]) == (400, "BadRequest"), ports
