"""One of two replicas is killed under load: that costs its requests in flight, and nothing else."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator

import pytest

from flambeau.gateway.document import Endpoint
from tests.fixtures.raw_http import read_answer
from tests.fixtures.waiting import until
from tests.gateway.conftest import NAME, World

CLIENTS = 8
REPLICA = """
import asyncio

async def answer(reader, writer):
    while True:
        await reader.readuntil(b"\\r\\n\\r\\n")
        await reader.readexactly(2)
        await asyncio.sleep(0.005)
        writer.write(b"HTTP/1.1 200 OK\\r\\nContent-Length: 2\\r\\n\\r\\nhi")

async def main():
    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()

asyncio.run(main())
"""


@pytest.fixture
async def replicas() -> AsyncIterator[list[tuple[asyncio.subprocess.Process, Endpoint]]]:
    processes = [
        await asyncio.create_subprocess_exec(
            sys.executable, "-c", REPLICA, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL
        )
        for _ in range(2)
    ]
    try:
        started = []
        for number, process in enumerate(processes):
            assert process.stdout is not None
            started.append((process, Endpoint("127.0.0.1", int(await process.stdout.readline()), f"ns/pod-{number}")))
        yield started
    finally:
        for process in processes:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()


async def test_kill_9_costs_only_what_is_in_flight(world: World, replicas: list[tuple[asyncio.subprocess.Process, Endpoint]]) -> None:
    world.serve(*(endpoint for _, endpoint in replicas))
    statuses: list[int] = []
    stop = asyncio.Event()

    async def ask_again_and_again() -> None:
        reader, writer = await world.client.open()
        while not stop.is_set():
            writer.write(b"POST /x HTTP/1.1\r\nHost: m\r\nContent-Length: 2\r\n\r\nhi")
            statuses.append((await read_answer(reader)).status)

    clients = [asyncio.create_task(ask_again_and_again()) for _ in range(CLIENTS)]
    doomed = world.gateway.services[NAME].replicas[0]
    await until(lambda: len(statuses) > 200 and doomed.in_flight)
    replicas[0][0].kill()
    at_most = doomed.in_flight + CLIENTS // 2  # what reaches it before the news of its death does
    await replicas[0][0].wait()
    so_far = len(statuses)
    await until(lambda: len(statuses) > so_far + 500)
    stop.set()
    await asyncio.gather(*clients)
    failed = [status for status in statuses if status != 200]
    assert set(failed) <= {502}
    assert len(failed) <= at_most
    assert set(statuses[so_far + 50 :]) == {200}
