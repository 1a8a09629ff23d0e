"""Room, leases and full disks; the bytes come from memory here, the disk is real."""

from __future__ import annotations

import asyncio
import hashlib
import io
import os
import subprocess
import tarfile
import time
from collections.abc import AsyncGenerator, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from flambeau.foundation.errors import InvalidInput, TooLarge, Unavailable
from flambeau.foundation.files import write_atomically
from flambeau.storage import cache
from flambeau.storage.cache import DISK_BYTES_SPARE, IDLE_SECONDS_MIN, Cache, tree_digest
from flambeau.storage.download import obtain
from flambeau.storage.fetch import fetch
from flambeau.storage.model import Credentials, Fetched, Progress, RemoteFile


class Clock:
    """A wall clock that a test moves."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def monotonic(self) -> float:
        return self.now

    def wall(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.now += seconds


class Memory:
    """A source whose files are in memory."""

    def __init__(self, files: dict[str, bytes]) -> None:
        self._files = files

    def listing(self) -> list[RemoteFile]:
        return [
            RemoteFile(name=name, key=name, size=len(content), etag=None, identity=f"{name} {hashlib.sha256(content).hexdigest()}")
            for name, content in self._files.items()
        ]

    async def read(self, file: RemoteFile, offset: int) -> AsyncGenerator[bytes, None]:
        content = self._files[file.key]
        for start in range(offset, len(content), 65536):
            yield content[start : start + 65536]


async def get(cache: Cache, files: dict[str, bytes]) -> Fetched:
    source = Memory(files)
    return await obtain(source.listing(), source, cache)


def model(letter: str, size: int = 40_000) -> dict[str, bytes]:
    return {"weights": letter.encode() * size, "shared/readme": b"the same in all"}


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def small(tmp_path: Path, clock: Clock) -> Cache:
    """Room for two of the models above."""
    return Cache(tmp_path / "small", bytes_max=100_000, clock=clock)


async def test_the_least_recently_used_tree_goes_first(small: Cache, clock: Clock) -> None:
    a = await get(small, model("a"))
    clock.now += 10
    b = await get(small, model("b"))
    clock.now += 10
    assert (await get(small, model("a"))).from_cache
    clock.now += IDLE_SECONDS_MIN + 1
    c = await get(small, model("c"))
    assert (a.path.exists(), b.path.exists(), c.path.exists()) == (True, False, True)
    assert (c.path / "shared/readme").read_bytes() == b"the same in all"
    stored = {path.stat().st_size for path in small.folder("objects").iterdir()}
    assert stored == {40_000, 15}
    assert len(list(small.folder("index").iterdir())) == 3


async def test_a_leased_tree_stays_even_after_a_restart(small: Cache, clock: Clock) -> None:
    a = await get(small, model("a"))
    small.lease(a.digest, "torchserve/mnist-00001/pod uid")
    b = await get(small, model("b"))
    clock.now += IDLE_SECONDS_MIN + 1
    restarted = Cache(small.root, small.bytes_max, clock)
    assert restarted.leases() == {a.digest: {"torchserve/mnist-00001/pod uid"}}
    await get(restarted, model("c"))
    assert (a.path.exists(), b.path.exists()) == (True, False)


async def test_a_cache_full_of_running_models_says_so(small: Cache, clock: Clock) -> None:
    for letter in "ab":
        small.lease((await get(small, model(letter))).digest, "holder")
    clock.now += IDLE_SECONDS_MIN + 1
    with pytest.raises(Unavailable, match="in use by running models") as caught:
        await get(small, model("c"))
    assert caught.value.reason == "CacheFull"
    digest = next(iter(small.leases()))
    small.release(digest, "holder")
    small.release(digest, "holder")
    assert (await get(small, model("c"))).path.exists()


async def test_a_tree_that_was_just_fetched_is_not_evicted(small: Cache) -> None:
    await get(small, model("a"))
    await get(small, model("b"))
    with pytest.raises(Unavailable):
        await get(small, model("c"))


async def test_a_clock_that_is_set_back_leaves_nothing_that_cannot_be_evicted(small: Cache, clock: Clock) -> None:
    a = await get(small, model("a"))
    b = await get(small, model("b"))
    clock.now -= 5 * 365 * 86400
    c = await get(small, model("c"))
    assert [each.path.exists() for each in (a, b, c)].count(True) == 2
    assert c.path.exists()


@pytest.mark.parametrize("folder", ["index", "origins", "leases", "partial", "staging"])
async def test_notes_that_are_damaged_cost_a_download_at_most(small: Cache, clock: Clock, folder: str) -> None:
    fetched = await get(small, model("a"))
    small.remember("an archive", Memory(model("a")).listing())
    for note in small.folder(folder).iterdir():
        note.write_bytes(b"\x00 no note of ours")
    (small.folder(folder) / "stranger").write_bytes(b"\x00")
    assert small.remembered("an archive") == (None if folder == "origins" else Memory(model("a")).listing())
    again = await get(small, model("a"))
    assert again.path == fetched.path
    assert (again.path / "weights").read_bytes() == b"a" * 40_000
    clock.now += IDLE_SECONDS_MIN + 1
    await get(small, model("b"))
    assert (await get(small, model("c"))).path.exists()


async def test_a_model_larger_than_the_cache_is_refused_at_once(small: Cache) -> None:
    with pytest.raises(TooLarge, match=r"the model has 200\.0 kB, but the model cache at most 100\.0 kB") as caught:
        await get(small, {"weights": b"x" * 200_000})
    assert caught.value.reason == "ModelTooLarge"
    assert not list(small.folder("objects").iterdir())


def test_a_holders_name_is_bounded(small: Cache) -> None:
    with pytest.raises(InvalidInput):
        small.lease("d", "x" * 500)


async def test_what_was_abandoned_is_swept(small: Cache) -> None:
    abandoned = small.folder("staging") / "dead"
    (abandoned / "inner").mkdir(parents=True)
    (abandoned / "inner").chmod(0o555)
    (small.folder("staging") / "dead.lock").touch()
    await get(small, model("a"))
    assert not list(small.folder("staging").iterdir())


async def test_a_second_builder_leaves_the_first_ones_tree_in_place(small: Cache) -> None:
    files = Memory(model("a")).listing()
    first = await get(small, model("a"))
    inode = first.path.stat().st_ino
    with small.staging() as staging:
        for file in files:
            sha256 = small.find(file)
            assert sha256 is not None
            assert small.link_object(sha256, staging.place(file.name))
        assert staging.publish(first.digest, files) == first.path
    assert first.path.stat().st_ino == inode
    assert not list(small.folder("staging").iterdir())


def test_the_digest_is_over_names_and_contents() -> None:
    assert tree_digest({"a": "1", "b": "2"}) == tree_digest({"b": "2", "a": "1"})
    assert len({tree_digest(one) for one in ({"a": "1", "b": "2"}, {"a": "2", "b": "1"}, {"a": "1"}, {"c": "1", "b": "2"})}) == 4


async def test_whoever_waits_for_a_download_never_repeats_it(small: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the object's birth and its index entry, a second fetch must still wait."""
    source = Memory(model("a"))
    reads: list[str] = []
    waiting = asyncio.Event()
    loop = asyncio.get_running_loop()

    async def read(file: RemoteFile, offset: int) -> AsyncGenerator[bytes, None]:
        reads.append(file.name)
        yield model("a")[file.key][offset:]

    def write_late(path: Path, content: bytes) -> None:
        loop.call_soon_threadsafe(waiting.set)
        time.sleep(0.3)  # widens the gap that is tested
        write_atomically(path, content)

    monkeypatch.setattr(source, "read", read)
    monkeypatch.setattr(cache, "write_atomically", write_late)

    async def second() -> Fetched:
        await waiting.wait()
        return await obtain(source.listing(), source, Cache(small.root, small.bytes_max))

    fetched = await asyncio.gather(obtain(source.listing(), source, small), second())
    assert fetched[0].path == fetched[1].path
    assert sorted(reads) == ["shared/readme", "weights"]
    assert list(small.folder("partial").iterdir()) == []


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system with 8 MB to use."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES_SPARE + 8_000_000}", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("mounting a small file system needs root")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def files_below(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file() and path.name not in ("lock", "filler"))


async def test_a_disk_without_room_is_said_before_the_download(tiny_disk: Path) -> None:
    cache = Cache(tiny_disk, bytes_max=1 << 30)
    with pytest.raises(
        Unavailable,
        match=rf"the disk of the model cache {tiny_disk} is full: 9\.0 MB are needed, 8\.0 MB are free beyond a reserve of 16\.8 MB",
    ) as caught:
        await get(cache, {"weights": b"x" * 9_000_000})
    assert caught.value.reason == "DiskFull"
    assert files_below(tiny_disk) == []


async def test_a_disk_that_fills_up_meanwhile_leaves_nothing_half_there(tiny_disk: Path) -> None:
    cache = Cache(tiny_disk, bytes_max=1 << 30)
    source = Memory({"first": b"f" * 1000, "weights": b"x" * 6_000_000})
    filler = tiny_disk / "filler"

    def fill(progress: Progress) -> None:
        if progress.bytes_done > 1_000_000 and not filler.exists():
            with suppress(OSError), filler.open("wb", buffering=0) as file:
                while file.write(b"\0" * 65536):
                    pass

    with pytest.raises(Unavailable, match=rf"the disk of the model cache {tiny_disk} is full: No space left") as caught:
        await obtain(source.listing(), source, cache, fill)
    assert caught.value.reason == "DiskFull"
    assert files_below(tiny_disk) == []
    filler.unlink()
    assert (await obtain(source.listing(), source, cache)).bytes == 6_001_000


async def test_an_archive_that_fills_the_disk_is_said(tiny_disk: Path, tmp_path: Path) -> None:
    packed = tmp_path / "m.tar.gz"
    with tarfile.open(packed, "w:gz") as archive:
        entry = tarfile.TarInfo("weights")
        entry.size = DISK_BYTES_SPARE + 10_000_000
        archive.addfile(entry, io.BytesIO(bytes(entry.size)))
    with pytest.raises(Unavailable) as caught:
        await fetch(f"file://{packed}", cache=Cache(tiny_disk, bytes_max=1 << 30), credentials=Credentials())
    assert caught.value.reason == "DiskFull"
    assert not [name for name in files_below(tiny_disk) if name.startswith("staging")]
