"""One question to a neighbour."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from flambeau.foundation.ask import ANSWER_BYTES_MAX, Answer, ask
from flambeau.foundation.errors import Unavailable
from flambeau.foundation.tls import context_of
from tests.fixtures.certificates import make_certificate

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def saying(answer: bytes, *, close: bool = True, heard: list[bytes] | None = None) -> Serve:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        if heard is not None:
            heard.append(head)
        writer.write(answer)
        if not close:
            await reader.read()
        writer.close()

    return serve


@asynccontextmanager
async def server(serve: Serve) -> AsyncIterator[tuple[str, int]]:
    listener = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with listener:
        yield listener.sockets[0].getsockname()[:2]


@pytest.mark.parametrize(
    ("answer", "wanted"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", Answer(200, b"hi")),
        (b"HTTP/1.0 404 Not Found\r\n\r\nuntil the end", Answer(404, b"until the end")),
        (b"HTTP/1.1 204 No Content\r\n\r\n", Answer(204, b"")),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1;x=y\r\nc\r\n0\r\n\r\n", Answer(200, b"abc")),
    ],
)
async def test_an_answer_is_read_whole(answer: bytes, wanted: Answer) -> None:
    async with server(saying(answer)) as place:
        assert await ask(place, "/", timeout_seconds=5) == wanted


async def test_a_server_that_keeps_the_connection_does_not_delay_the_answer() -> None:
    async with server(saying(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", close=False)) as place:
        assert (await ask(place, "/", timeout_seconds=5)).body == b"hi"


async def test_the_request_is_a_whole_one(tmp_path: Path) -> None:
    heard: list[bytes] = []
    listener = await asyncio.start_unix_server(saying(b"HTTP/1.1 200 OK\r\n\r\n", heard=heard), tmp_path / "sock")
    async with listener:
        await ask(tmp_path / "sock", "/reload?x=1", method="POST", headers=(("X-Probe", "yes"),), timeout_seconds=5)
    head = heard[0].decode()
    assert head.startswith("POST /reload?x=1 HTTP/1.1\r\nX-Probe: yes\r\nHost: localhost\r\n")
    assert "\r\nContent-Length: 0\r\n" in head


async def test_a_long_answer_is_cut() -> None:
    async with server(saying(b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * (ANSWER_BYTES_MAX + 1000))) as place:
        assert len((await ask(place, "/", timeout_seconds=5)).body) < ANSWER_BYTES_MAX


@pytest.mark.parametrize(
    ("answer", "is_whole"),
    [
        (b"Content-Length: 2\r\nX-Form: parquet\r\n\r\nhi", True),
        (b"Content-Length: 9\r\nX-Form: parquet\r\n\r\nhi", False),
        (b"X-Form: parquet\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n", True),
        (b"X-Form: parquet\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n", False),
        (b"X-Form: parquet\r\n\r\nhi", True),
        (b"X-Form: parquet\r\n\r\nhi" + b"x" * 200, False),
    ],
)
async def test_an_answer_that_broke_off_or_is_too_long_is_known(answer: bytes, is_whole: bool) -> None:
    async with server(saying(b"HTTP/1.1 200 OK\r\n" + answer)) as place:
        found = await ask(place, "/", timeout_seconds=5, answer_bytes_max=150)
    assert (found.is_whole, found.header(b"x-form"), found.body[:2]) == (is_whole, b"parquet", b"hi")


async def test_nobody_there_is_told(tmp_path: Path, unused_tcp_port: int) -> None:
    with pytest.raises(Unavailable, match="Connection refused"):
        await ask(("127.0.0.1", unused_tcp_port), "/", timeout_seconds=5)
    with pytest.raises(Unavailable, match="No such file"):
        await ask(tmp_path / "sock", "/", timeout_seconds=5)


async def test_silence_and_nonsense_are_told() -> None:
    async with server(saying(b"", close=False)) as place:
        with pytest.raises(Unavailable, match=r"within 0\.05 s"):
            await ask(place, "/", timeout_seconds=0.05)
    async with server(saying(b"SSH-2.0\r\n")) as place:
        with pytest.raises(Unavailable, match=r"HTTP/1\.1"):
            await ask(place, "/", timeout_seconds=5)


async def test_why_tls_fails_is_told(tmp_path: Path) -> None:
    files = make_certificate(tmp_path)
    context = context_of(files.certificate, files.key, ("http/1.1",))
    trusting = ssl.create_default_context()
    listener = await asyncio.start_server(saying(b""), "127.0.0.1", 0, ssl=context)
    async with listener:
        place = listener.sockets[0].getsockname()[:2]
        with pytest.raises(Unavailable, match="its certificate is not trusted: self-signed certificate"):
            await ask(place, "/", tls=trusting, timeout_seconds=5)


async def test_a_host_that_nobody_knows_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    async def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", unknown)
    with pytest.raises(Unavailable, match="nowhere:80: Name or service not known"):
        await ask(("nowhere", 80), "/", timeout_seconds=5)
