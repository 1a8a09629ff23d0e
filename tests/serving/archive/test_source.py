from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
import pytest_asyncio

from flambeau.foundation.errors import Conflict, FlambeauError, InvalidInput, NotFound
from flambeau.serving.archive import download as module
from flambeau.serving.archive.allowed_address import AllowedAddress
from flambeau.serving.archive.source import ArchiveSource, Found

Play = Callable[[bytes, asyncio.StreamWriter], Awaitable[None]]


@pytest.fixture
def store(tmp_path: Path) -> Path:
    (tmp_path / "store" / "folder").mkdir(parents=True)
    (tmp_path / "store" / "m.mar").write_bytes(b"m")
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "o.mar").write_bytes(b"o")
    return tmp_path / "store"


class Web:
    """A web server that plays what a test says."""

    def __init__(self) -> None:
        self.requests: list[bytes] = []
        self.answer = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nbytes"
        self.url = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.requests.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(self.answer)
        await writer.drain()
        writer.close()


@pytest_asyncio.fixture
async def web() -> AsyncIterator[Web]:
    found = Web()
    server = await asyncio.start_server(found.serve, "127.0.0.1", 0)
    found.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    yield found
    server.close()
    await server.wait_closed()


def source(store: Path, *patterns: str) -> ArchiveSource:
    return ArchiveSource(store, [AllowedAddress.parse(pattern) for pattern in patterns])


async def refused(found: Awaitable[Found], kind: type[FlambeauError], why: str) -> FlambeauError:
    with pytest.raises(kind, match=why) as raised:
        await found
    return raised.value


@pytest.mark.parametrize("url", ["m.mar", "elsewhere/m.mar", "folder", "{store}/m.mar", "{store}/folder"])
async def test_what_the_store_holds_is_found(store: Path, url: str) -> None:
    found = await source(store).find(url.replace("{store}", str(store)))
    assert found.path.is_relative_to(store)
    assert found.path.exists()
    assert not found.downloaded


@pytest.mark.parametrize("url", ["gone.mar", "{store}2/m.mar", "{outside}", "{outside}/o.mar", "/etc", "/", "m.mar\0", "s3://b/m.mar/x"])
async def test_nothing_outside_the_store_is_read(store: Path, url: str) -> None:
    asked = url.replace("{store}", str(store)).replace("{outside}", str(store.parent / "outside"))
    await refused(source(store).find(asked), NotFound, "Model not found at")


async def test_steps_up_are_refused_before_anything_is_looked_at(store: Path, web: Web) -> None:
    for url in ("../outside/o.mar", f"{web.url}/..%2f../o.mar", f"{web.url}/a/../o.mar"):
        await refused(source(store, ".*").find(url), NotFound, "Relative path is not allowed")
    assert not web.requests


async def test_a_download_is_whole_or_not_there(store: Path, web: Web) -> None:
    allowed = source(store, f"{web.url}/.*")
    found = await allowed.find(f"{web.url}/a/new.mar?x=1")
    assert (found.path, found.path.read_bytes(), found.downloaded) == (store / "new.mar", b"bytes", True)
    assert web.requests[0].startswith(b"GET /a/new.mar?x=1 HTTP/1.1\r\n")
    web.answer = b"HTTP/1.1 200 OK\r\ncontent-length: 50\r\n\r\nbytes"
    error = await refused(allowed.find(f"{web.url}/cut.mar?signature=secret"), InvalidInput, "Failed to download archive from")
    assert "secret" not in str(error)
    await refused(allowed.find(f"{web.url}/new.mar"), Conflict, "Model file already exists new.mar")
    assert sorted(path.name for path in store.iterdir()) == ["folder", "m.mar", "new.mar"]


async def test_too_much_is_cut(store: Path, web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ARCHIVE_BYTES_MAX", 4)
    await refused(source(store, f"{web.url}/.*").find(f"{web.url}/big.mar"), InvalidInput, "it is over 4 bytes")
    assert sorted(path.name for path in store.iterdir()) == ["folder", "m.mar"]


async def test_a_private_address_must_be_named(store: Path, web: Web) -> None:
    """A rule for the Internet does not open this machine, whatever a name leads to."""
    for url in (
        f"{web.url}/x.mar",
        web.url.replace("127.0.0.1", "localhost") + "/x.mar",
        web.url.replace("127.0.0.1", "[::ffff:7f00:1]") + "/x",
    ):
        await refused(source(store, "https?://.*").find(url), NotFound, "does not match any allowed URL")
    assert not web.requests
    escaped = web.url.replace(".", r"\.")
    assert (await source(store, f"{escaped}/.*").find(f"{web.url}/x.mar")).downloaded


async def test_every_step_of_a_redirection_must_be_allowed(store: Path, web: Web) -> None:
    allowed = source(store, f"{web.url}/.*")
    web.answer = b"HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/x.mar\r\ncontent-length: 0\r\n\r\n"
    await refused(allowed.find(f"{web.url}/x.mar"), NotFound, "http://127.0.0.1:1/x.mar does not match any allowed URL")
    web.answer = b"HTTP/1.1 302 Found\r\nlocation: /x.mar\r\ncontent-length: 0\r\n\r\n"
    await refused(allowed.find(f"{web.url}/x.mar"), InvalidInput, "it redirects more than 5 times")


@pytest.mark.parametrize("url", ["http://127.0.0.1:{port}/", "http://127.0.0.1:{port}/.hidden", "http://user@127.0.0.1:{port}/x.mar"])
async def test_addresses_that_name_no_file(store: Path, web: Web, url: str) -> None:
    port = web.url.rpartition(":")[2]
    await refused(source(store, ".*127.0.0.1.*").find(url.replace("{port}", port)), InvalidInput, "url|no http")
    assert not web.requests


def test_expressions_are_matched_whole_and_in_linear_time() -> None:
    rule = AllowedAddress.parse("https://Models.Example.org/.*")
    assert rule.matches("HTTPS://models.example.org/m.mar")
    assert not rule.matches("x https://models.example.org/m.mar")
    assert not AllowedAddress.parse("(a+)+$").matches("a" * 5_000 + "b")
    with pytest.raises(InvalidInput, match="cannot use the expression"):
        AllowedAddress.parse("(?=x)")
