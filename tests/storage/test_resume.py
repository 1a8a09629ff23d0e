"""Downloads that are cut, stalled, killed or wanted twice, through a proxy that counts what the S3 server was asked for."""

from __future__ import annotations

import asyncio
import hashlib
import os
import random
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from flambeau.foundation.errors import Unavailable
from flambeau.storage import download, objects
from flambeau.storage.cache import Cache
from flambeau.storage.fetch import fetch
from flambeau.storage.model import Credentials, Fetched
from tests.fixtures.faulty_proxy import FaultyProxy
from tests.fixtures.s3 import S3Server

Login = Callable[..., Credentials]

BIG = random.Random(7).randbytes(20_000_000)
SLACK_BYTES = 3_000_000
"""What may be carried twice: chunks that were on their way at the cut, heads, listings."""

FETCH_IN_A_PROCESS = """
import asyncio, os, sys
from pathlib import Path
from flambeau.storage.cache import Cache
from flambeau.storage.credentials import from_environment
from flambeau.storage.fetch import fetch
fetched = asyncio.run(fetch(sys.argv[1], cache=Cache(Path(sys.argv[2]), 1 << 30), credentials=from_environment(os.environ)))
print(fetched.digest)
"""


@pytest.fixture(scope="module")
def uri(s3_server: S3Server) -> str:
    bucket = s3_server.create_bucket()
    s3_server.put(bucket, "big/model.pt", BIG)
    s3_server.put(bucket, "big/small.txt", b"small")
    return f"s3://{bucket}/big"


@pytest.fixture
async def proxy(s3_server: S3Server) -> AsyncIterator[FaultyProxy]:
    async with FaultyProxy(s3_server.port) as proxy:
        yield proxy


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "PAUSE_SECONDS_MIN", 0.01)


def assert_whole(fetched: Fetched) -> None:
    assert hashlib.sha256((fetched.path / "model.pt").read_bytes()).digest() == hashlib.sha256(BIG).digest()
    assert (fetched.path / "small.txt").read_bytes() == b"small"


def partials(cache: Cache) -> list[Path]:
    return list(cache.folder("partial").iterdir())


def bytes_kept(cache: Cache) -> int:
    return max((path.stat().st_size for path in partials(cache)), default=0)


async def start_fetching_process(uri: str, cache: Cache, credentials: Credentials) -> asyncio.subprocess.Process:
    environment = {name: setting.value for name, setting in credentials.settings.items()}
    command = (sys.executable, "-c", FETCH_IN_A_PROCESS, uri, str(cache.root))
    return await asyncio.create_subprocess_exec(*command, env={**os.environ, **environment}, stdout=asyncio.subprocess.PIPE)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(15):
        while not condition():  # noqa: ASYNC110 - what is waited for is a file, which has no event
            await asyncio.sleep(0.02)


async def test_a_cut_download_goes_on_where_it_stopped(uri: str, cache: Cache, login: Login, proxy: FaultyProxy) -> None:
    proxy.fail("cut", after_bytes=9_000_000, times=1)
    assert_whole(await fetch(uri, cache=cache, credentials=login(port=proxy.port)))
    first, second = proxy.gets("model.pt")
    assert first is None
    assert second is not None
    assert second >= 9_000_000 - SLACK_BYTES
    assert proxy.bytes_down < len(BIG) + SLACK_BYTES
    assert partials(cache) == []


async def test_a_stalled_download_goes_on(
    uri: str, cache: Cache, login: Login, proxy: FaultyProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(objects, "SILENCE_SECONDS_MAX", 0.7)
    proxy.fail("stall", after_bytes=9_000_000, times=1)
    assert_whole(await fetch(uri, cache=cache, credentials=login(port=proxy.port)))
    assert len(proxy.gets("model.pt")) == 2
    assert proxy.bytes_down < len(BIG) + SLACK_BYTES


async def test_a_download_that_is_always_cut_fails_and_the_next_fetch_goes_on(
    uri: str, cache: Cache, login: Login, proxy: FaultyProxy
) -> None:
    proxy.fail("cut", after_bytes=2_500_000, times=10**6)
    with pytest.raises(Unavailable):
        await fetch(uri, cache=cache, credentials=login(port=proxy.port))
    assert len(proxy.gets("model.pt")) == download.ATTEMPTS_MAX
    assert not list(cache.folder("trees").iterdir())
    assert not list(cache.folder("staging").iterdir())
    (partial,) = partials(cache)
    assert partial.stat().st_size > 5_000_000
    proxy.faults_left = 0
    assert_whole(await fetch(uri, cache=cache, credentials=login(port=proxy.port)))
    assert proxy.bytes_down < len(BIG) + SLACK_BYTES + 2_500_000


async def test_a_killed_process_is_continued_by_another(uri: str, cache: Cache, login: Login, proxy: FaultyProxy) -> None:
    credentials = login(port=proxy.port)
    proxy.fail("stall", after_bytes=9_000_000, times=1)
    process = await start_fetching_process(uri, cache, credentials)
    await proxy.stalled.wait()
    await until(lambda: bytes_kept(cache) > 9_000_000 - SLACK_BYTES and len(list(cache.folder("index").glob("[!.]*"))) == 1)
    process.kill()
    await process.communicate()
    assert list(cache.folder("staging").iterdir()), "the killed process left its tree being built"
    assert not cache.folder("trees").exists() or not list(cache.folder("trees").iterdir())
    assert_whole(await fetch(uri, cache=cache, credentials=credentials))
    assert proxy.gets("small.txt") == [None]
    assert proxy.bytes_down < len(BIG) + SLACK_BYTES
    assert not list(cache.folder("staging").iterdir())


async def test_what_a_killed_process_left_damaged_is_fetched_anew(uri: str, cache: Cache, login: Login, proxy: FaultyProxy) -> None:
    proxy.fail("cut", after_bytes=2_500_000, times=10**6)
    with pytest.raises(Unavailable):
        await fetch(uri, cache=cache, credentials=login(port=proxy.port))
    (partial,) = partials(cache)
    with partial.open("r+b") as file:
        file.write(b"\0" * 4096)
    proxy.faults_left = 0
    assert_whole(await fetch(uri, cache=cache, credentials=login(port=proxy.port)))


async def test_two_tasks_and_a_process_download_once(uri: str, cache: Cache, login: Login, proxy: FaultyProxy) -> None:
    credentials = login(port=proxy.port)
    process = await start_fetching_process(uri, cache, credentials)
    fetched = await asyncio.gather(*(fetch(uri, cache=cache, credentials=credentials) for _ in range(2)))
    output, _ = await process.communicate()
    assert process.returncode == 0
    assert {one.digest for one in fetched} == {output.decode().strip()}
    assert_whole(fetched[0])
    assert proxy.gets("model.pt") == [None]
    assert proxy.gets("small.txt") == [None]


async def test_a_cached_model_costs_one_listing(uri: str, cache: Cache, login: Login, proxy: FaultyProxy) -> None:
    first = await fetch(uri, cache=cache, credentials=login(port=proxy.port))
    before = len(proxy.requests)
    second = await fetch(uri, cache=cache, credentials=login(port=proxy.port))
    assert (first.from_cache, second.from_cache) == (False, True)
    assert (second.path, second.digest) == (first.path, first.digest)
    (request,) = proxy.requests[before:]
    assert "list-type=2" in request[1]


async def test_a_new_file_is_all_that_a_new_version_downloads(s3_server: S3Server, cache: Cache, login: Login, proxy: FaultyProxy) -> None:
    bucket = s3_server.create_bucket()
    s3_server.put(bucket, "m/same", b"same")
    s3_server.put(bucket, "m/new", b"one")
    credentials = login(port=proxy.port)
    first = await fetch(f"s3://{bucket}/m", cache=cache, credentials=credentials)
    s3_server.put(bucket, "m/new", b"two")
    second = await fetch(f"s3://{bucket}/m", cache=cache, credentials=credentials)
    assert (first.path / "new").read_bytes() == b"one"
    assert (second.path / "new").read_bytes() == b"two"
    assert (first.path / "same").stat().st_ino == (second.path / "same").stat().st_ino
    assert proxy.gets("same") == [None]


async def test_a_cancelled_fetch_keeps_its_bytes_for_the_next(uri: str, cache: Cache, login: Login, proxy: FaultyProxy) -> None:
    proxy.fail("stall", after_bytes=9_000_000, times=1)
    task = asyncio.create_task(fetch(uri, cache=cache, credentials=login(port=proxy.port)))
    await proxy.stalled.wait()
    await until(lambda: bytes_kept(cache) > 9_000_000 - SLACK_BYTES)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not list(cache.folder("staging").iterdir())
    assert_whole(await fetch(uri, cache=cache, credentials=login(port=proxy.port)))
    assert proxy.bytes_down < len(BIG) + SLACK_BYTES


@pytest.mark.parametrize("damage", ["content", "size", "gone"])
async def test_a_damaged_object_is_fetched_anew(uri: str, cache: Cache, login: Login, damage: str) -> None:
    first = await fetch(uri, cache=cache, credentials=login())
    file = first.path / "model.pt"
    if damage == "gone":
        (cache.folder("objects") / hashlib.sha256(BIG).hexdigest()).unlink()
        file.parent.chmod(0o755)
        file.unlink()
    else:
        file.chmod(0o644)
        with file.open("r+b") as opened:
            opened.write(b"\0" * 100)
            if damage == "size":
                opened.truncate(100)
    second = await fetch(uri, cache=cache, credentials=login())
    assert not second.from_cache
    assert second.path == first.path
    assert_whole(second)


async def test_an_object_that_was_only_touched_is_kept(uri: str, cache: Cache, login: Login) -> None:
    first = await fetch(uri, cache=cache, credentials=login())
    os.utime(first.path / "model.pt")
    second = await fetch(uri, cache=cache, credentials=login())
    assert second.from_cache
    assert_whole(second)
