"""The gateway as its own process: started, told to stop, started twice, restarted, and streaming more than it may hold."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest

from flambeau.gateway.document import Backend, Destination, Document, Endpoint, Host, Rule
from flambeau.gateway.document_codec import encode
from tests.fixtures.raw_http import RawClient, read_answer
from tests.fixtures.waiting import until
from tests.gateway.conftest import NAME, World

GET = b"GET / HTTP/1.1\r\nHost: m\r\n\r\n"
SIZE = 80_000_000


class Program:
    """A running gateway process."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.port = 0
        self.lines: list[str] = []

    async def ready(self, scheme: str = "http") -> None:
        assert self.process.stderr is not None
        async with asyncio.timeout(15):
            while line := (await self.process.stderr.readline()).decode():
                self.lines.append(line)
                if line.startswith(f"gateway ready on {scheme}://127.0.0.1:"):
                    self.port = int(line.rpartition(":")[2])
                    return
        raise AssertionError(f"the gateway ended: {self.lines}")

    async def end(self) -> tuple[int, str]:
        """Return the exit status and what was said since it was ready."""
        async with asyncio.timeout(15):
            _, errors = await self.process.communicate()
        assert self.process.returncode is not None
        return self.process.returncode, errors.decode()


async def launch(home: Path, port: int = 0, flags: tuple[str, ...] = ()) -> Program:
    command = [sys.executable, "-m", "flambeau.programs.gateway", "--listen", f"127.0.0.1:{port}", "--home", str(home), *flags]
    return Program(await asyncio.create_subprocess_exec(*command, stderr=asyncio.subprocess.PIPE))


@pytest.fixture
async def program(tmp_path: Path) -> AsyncIterator[Program]:
    started = await launch(tmp_path)
    await started.ready()
    yield started
    if started.process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            started.process.kill()
        await started.end()


def write_routes(home: Path, *endpoints: Endpoint) -> None:
    rule = Rule((Destination(weight=100, backend=NAME),))
    content = encode(Document(3, (Host("m", (rule,)),), (Backend(NAME, endpoints),)))
    (home / "gateway").mkdir(exist_ok=True)
    (home / "gateway" / "routes.json").write_bytes(content)


async def reload(home: Path) -> int:
    reader, writer = await asyncio.open_unix_connection(str(home / "gateway" / "admin.sock"))
    writer.write(b"POST /reload HTTP/1.1\r\nHost: gateway\r\nConnection: close\r\n\r\n")
    status = (await read_answer(reader)).status
    writer.close()
    await writer.wait_closed()
    return status


@contextlib.asynccontextmanager
async def client_of(program: Program) -> AsyncIterator[RawClient]:
    client = RawClient(program.port)
    try:
        yield client
    finally:
        await client.close()


async def test_sigterm_lets_running_requests_finish_and_ends_0(world: World, program: Program, tmp_path: Path) -> None:
    replica = await world.echo()
    write_routes(tmp_path, replica.endpoint)
    assert await reload(tmp_path) == 200
    async with client_of(program) as client:
        asking = asyncio.ensure_future(client.ask(b"GET /hang HTTP/1.1\r\nHost: m\r\n\r\n"))
        await until(lambda: bool(replica.exchanges and replica.exchanges[0].ended))
        program.process.send_signal(signal.SIGTERM)
        await until(lambda: _refuses(program.port))
        replica.exchanges[0].answer()
        answer = await asking
    assert (answer.status, answer.headers["connection"]) == (200, "close")
    status, errors = await program.end()
    assert (status, "Traceback" in errors) == (0, False)
    assert not (tmp_path / "gateway" / "admin.sock").exists()


def _refuses(port: int) -> bool:
    """Tell whether nobody listens, without connecting: a connection would be one to drain."""
    listening = [connection.laddr for connection in psutil.net_connections("tcp4") if connection.status == psutil.CONN_LISTEN]
    return all(address[1] != port for address in listening if address)


async def test_a_second_one_on_the_port_says_so_and_ends_1(program: Program, tmp_path: Path) -> None:
    second = await launch(tmp_path, program.port)
    status, errors = await second.end()
    assert status == 1
    assert errors.splitlines()[-1].startswith(f"gateway: cannot listen on 127.0.0.1:{program.port}: Address already in use")
    assert "Traceback" not in errors
    write_routes(tmp_path)
    assert await reload(tmp_path) == 200  # the first one still has its doorbell


async def test_a_restarted_one_reads_the_file_by_itself_even_after_kill_9(world: World, program: Program, tmp_path: Path) -> None:
    write_routes(tmp_path, (await world.echo()).endpoint)
    program.process.kill()
    await program.end()
    again = await launch(tmp_path, program.port)
    await again.ready()
    try:
        async with client_of(again) as client:
            assert (await client.ask(GET)).status == 200
        assert await reload(tmp_path) == 200
    finally:
        again.process.send_signal(signal.SIGINT)
        assert (await again.end())[0] == 0


async def test_a_bad_file_at_the_start_is_told_and_serves_404(program: Program, tmp_path: Path) -> None:
    program.process.kill()
    await program.end()
    (tmp_path / "gateway" / "routes.json").write_bytes(b"[]")
    again = await launch(tmp_path, program.port)
    await again.ready()
    async with client_of(again) as client:
        assert (await client.ask(GET)).status == 404
    again.process.terminate()
    status, said = await again.end()
    assert status == 0
    assert "the routes document is not used: document: expected an object" in "".join(again.lines) + said


async def test_bodies_are_not_held_in_memory(world: World, program: Program, tmp_path: Path) -> None:
    received = 0

    async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal received
        head = await reader.readuntil(b"\r\n\r\n")
        if head.startswith(b"GET"):
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % SIZE)
            for _ in range(SIZE // 100_000):
                writer.write(b"a" * 100_000)
                await writer.drain()
        else:
            await asyncio.sleep(0.5)
            while received < SIZE:
                received += len(await reader.read(1_000_000))
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()

    write_routes(tmp_path, await world.scripted(slow))
    assert await reload(tmp_path) == 200
    gateway = psutil.Process(program.process.pid)
    before = gateway.memory_info().rss
    largest = before

    async def watch() -> None:
        nonlocal largest
        while True:
            largest = max(largest, gateway.memory_info().rss)
            await asyncio.sleep(0.01)

    watching = asyncio.ensure_future(watch())
    async with client_of(program) as client:
        reader, writer = await client.open()
        writer.write(b"POST / HTTP/1.1\r\nHost: m\r\nContent-Length: %d\r\n\r\n" % SIZE)
        for _ in range(SIZE // 100_000):
            writer.write(b"a" * 100_000)
            await writer.drain()
        assert (await read_answer(reader)).status == 200
        reader, writer = await client.open()
        writer.write(GET)
        await asyncio.sleep(0.5)  # a client that does not read yet
        assert len((await read_answer(reader)).body) == SIZE
    watching.cancel()
    assert received == SIZE
    assert largest - before < SIZE / 4, f"the gateway grew by {(largest - before) / 1e6:.0f} MB for a body of {SIZE / 1e6:.0f} MB"


@pytest.mark.parametrize("listen", ["8000", ":8000", "a:b", "127.0.0.1:99999"])
async def test_a_bad_address_is_a_usage_error(tmp_path: Path, listen: str) -> None:
    command = [sys.executable, "-m", "flambeau.programs.gateway", "--listen", listen, "--home", str(tmp_path)]
    process = await asyncio.create_subprocess_exec(*command, stderr=asyncio.subprocess.PIPE)
    _, errors = await process.communicate()
    assert (process.returncode, b"is not HOST:PORT" in errors) == (2, True)
