"""A thousand clients that watch, and hundreds that never say what they want."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import orjson
import pytest

from flambeau.control.apiserver import listener
from flambeau.foundation.open_files import allow_open_files
from tests.control.apiserver.cluster import Api, Cluster

pytestmark = pytest.mark.asyncio(loop_scope="session")

WATCHERS = 1000
SILENT = 100
"""Of each kind: without a word, and in the middle of a head."""
PARALLEL = 50
"""Connections that are opened at once."""
SECONDS_MAX = 90.0


@asynccontextmanager
async def connection(cluster: Cluster) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    context = ssl.create_default_context(cafile=str(cluster.home / "pki" / "ca.crt"))
    port = int(cluster.server.url.rpartition(":")[2])
    reader, writer = await asyncio.open_connection(
        "127.0.0.1", port, ssl=context, server_hostname="localhost", ssl_handshake_timeout=SECONDS_MAX
    )
    try:
        yield reader, writer
    finally:
        writer.transport.abort()


async def many(cluster: Cluster, count: int, sent: bytes, opened: AsyncExitStack) -> list[asyncio.StreamReader]:
    """Open so many connections and send something on each."""
    readers: list[asyncio.StreamReader] = []

    async def one() -> None:
        reader, writer = await opened.enter_async_context(connection(cluster))
        writer.write(sent)
        readers.append(reader)

    for begin in range(0, count, PARALLEL):
        await asyncio.gather(*(one() for _ in range(min(PARALLEL, count - begin))))
    return readers


async def test_a_thousand_watch_clients_hear_of_a_change_and_leave_nothing(cluster: Cluster, api: Api, namespace: str) -> None:
    allow_open_files()
    path = f"/api/v1/namespaces/{namespace}/configmaps"
    version = (await api("GET", path)).json()["metadata"]["resourceVersion"]
    query = f"?watch=1&resourceVersion={version}&timeoutSeconds=600"
    head = f"GET {path}{query} HTTP/1.1\r\nHost: localhost\r\nAuthorization: {api.headers['authorization']}\r\n\r\n".encode()
    before = cluster.server.open_streams
    async with asyncio.timeout(SECONDS_MAX), AsyncExitStack() as opened:
        readers = await many(cluster, WATCHERS, head, opened)
        while cluster.server.open_streams < before + WATCHERS:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        config = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "news", "namespace": namespace}}
        assert (await api("POST", path, orjson.dumps(config))).status_code == 201

        async def told(reader: asyncio.StreamReader) -> bytes:
            text = await reader.readuntil(b"}\n")
            return text[text.index(b"{") :]

        heard = [orjson.loads(each) for each in await asyncio.gather(*map(told, readers))]
        assert {(each["type"], each["object"]["metadata"]["name"]) for each in heard} == {("ADDED", "news")}
        assert (await api("GET", path)).status_code == 200
    async with asyncio.timeout(SECONDS_MAX):
        while cluster.server.open_streams > before:  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def test_clients_that_never_finish_a_head_hold_nobody_up_and_are_cut(
    cluster: Cluster, api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    allow_open_files()
    monkeypatch.setattr(listener, "HEAD_SECONDS", 2.0)
    async with asyncio.timeout(SECONDS_MAX), AsyncExitStack() as opened:
        readers = await many(cluster, SILENT, b"", opened) + await many(cluster, SILENT, b"GET /api HTTP/1.1\r\nHost: loc", opened)
        assert (await api("GET", "/api")).status_code == 200
        assert [await reader.read() for reader in readers] == [b""] * len(readers)
