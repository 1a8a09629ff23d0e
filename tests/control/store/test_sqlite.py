"""What is SQLite's own: the file, crashes, bounds. The rules of every store are in ``tests/contracts/test_store.py``."""

from __future__ import annotations

import asyncio
import resource
import signal
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from flambeau.control.resources.kind import Key, Object
from flambeau.control.store.fanout import WATCH_CHANGES_MAX
from flambeau.control.store.interface import Change
from flambeau.control.store.sqlite import SqliteStore
from flambeau.foundation.errors import Conflict, NotFound, TooLarge, Unavailable

WRITER = Path(__file__).with_name("writer.py")
KEY = Key("configmaps", "home", "a")


def config(name: str = "a", text: str = "") -> Object:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": "home"}, "data": {"n": text}}


async def open_store(path: Path, *, history_changes_max: int = 100) -> SqliteStore:
    store = SqliteStore.open(path, history_changes_max=history_changes_max)
    await store.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "home"}})
    return store


@contextmanager
def writing_process(path: Path) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen([sys.executable, str(WRITER), str(path)], stdout=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.wait(timeout=10)
        assert process.stdout is not None
        process.stdout.close()


class TestTheFile:
    async def test_everything_is_there_after_opening_again(self, tmp_path: Path) -> None:
        store = await open_store(tmp_path / "store.db")
        made = await store.create(config())
        store.close()
        store = SqliteStore.open(tmp_path / "store.db")
        assert await store.get(KEY) == made
        changed = await store.update({**made, "data": {"n": "1"}})
        assert int(changed["metadata"]["resourceVersion"]) == int(made["metadata"]["resourceVersion"]) + 1
        store.close()

    async def test_only_its_owner_reads_it(self, tmp_path: Path) -> None:
        store = await open_store(tmp_path / "store.db")
        for file in tmp_path.iterdir():
            assert stat.S_IMODE(file.stat().st_mode) == 0o600, file
        store.close()
        assert [file.name for file in tmp_path.iterdir()] == ["store.db"]

    async def test_a_second_control_plane_is_refused(self, tmp_path: Path) -> None:
        path = tmp_path / "store.db"
        with writing_process(path) as process:
            assert process.stdout is not None
            process.stdout.readline()
            with pytest.raises(Unavailable, match="another control plane uses it"):
                SqliteStore.open(path)

    def test_a_file_that_is_something_else(self, tmp_path: Path) -> None:
        path = tmp_path / "store.db"
        path.write_bytes(b"not a database at all" * 100)
        with pytest.raises(Unavailable, match=r"store\.db"):
            SqliteStore.open(path)

    async def test_a_file_that_was_damaged_in_the_middle(self, tmp_path: Path) -> None:
        path = tmp_path / "store.db"
        store = await open_store(path)
        for number in range(50):
            await store.create(config(name=f"c{number}", text="x" * 5000))
        store.close()
        with path.open("r+b") as file:
            file.seek(path.stat().st_size // 2)
            file.write(b"\xff" * 20_000)
        with pytest.raises(Unavailable, match=r"store\.db is of no use") as caught:
            SqliteStore.open(path)
        assert "move it away and apply your objects again" in str(caught.value)

    def test_a_folder_that_is_not_there(self, tmp_path: Path) -> None:
        with pytest.raises(Unavailable, match="No such file"):
            SqliteStore.open(tmp_path / "nowhere" / "store.db")

    def test_a_layout_of_another_version(self, tmp_path: Path) -> None:
        path = tmp_path / "store.db"
        SqliteStore.open(path).close()
        connection = sqlite3.connect(path)
        connection.execute("PRAGMA user_version=99")
        connection.close()
        with pytest.raises(Unavailable, match="its layout is 99"):
            SqliteStore.open(path)

    async def test_after_closing_nothing_works_and_watches_end(self, tmp_path: Path) -> None:
        store = await open_store(tmp_path / "store.db")
        async with store.watch("configmaps", since=1) as events:
            waiting = asyncio.ensure_future(anext(events))
            await asyncio.sleep(0)
            store.close()
            store.close()
            with pytest.raises(Unavailable, match="closed"):
                await asyncio.wait_for(waiting, 5)
        for attempt in (store.get(KEY), store.list("configmaps"), store.create(config()), store.update(config()), store.delete(KEY)):
            with pytest.raises(Unavailable, match="closed"):
                await attempt


@pytest.mark.parametrize("writes_before_the_kill", [1, 7, 23, 60, 110])
async def test_an_acknowledged_write_survives_kill_9(tmp_path: Path, writes_before_the_kill: int) -> None:
    path = tmp_path / "store.db"
    with writing_process(path) as process:
        assert process.stdout is not None
        for _ in range(writes_before_the_kill):
            process.stdout.readline()
        process.send_signal(signal.SIGKILL)
        acknowledged = [int(line) for line in process.stdout.read().split("\n")[:-1]]
        last = acknowledged[-1] if acknowledged else writes_before_the_kill - 1
        process.wait(timeout=10)
    connection = sqlite3.connect(path)
    assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    connection.close()
    store = SqliteStore.open(path)
    stored = int((await store.get(KEY))["data"]["n"])
    assert stored in (last, last + 1)  # the one more was written, but its acknowledgement never got out
    store.close()


async def test_a_disk_that_refuses_leaves_nothing_half_written(tmp_path: Path) -> None:
    store = await open_store(tmp_path / "store.db")
    made = await store.create(config(text="before"))
    since = (await store.list("configmaps")).resource_version
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    size = (tmp_path / "store.db-wal").stat().st_size
    previous_handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    async with store.watch("configmaps", since=since) as events:
        resource.setrlimit(resource.RLIMIT_FSIZE, (size + 4096, hard))
        try:
            with pytest.raises(Unavailable, match="cannot write to it"):
                await store.update({**made, "data": {"n": "x" * 100_000}})
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
            signal.signal(signal.SIGXFSZ, previous_handler)
        assert await store.get(KEY) == made
        after = await store.update({**made, "data": {"n": "after"}})
        assert (await asyncio.wait_for(anext(events), 5)).object == after
    store.close()


async def test_an_object_has_a_largest_size(tmp_path: Path) -> None:
    store = await open_store(tmp_path / "store.db")
    with pytest.raises(TooLarge, match="3145728"):
        await store.create(config(text="x" * 4_000_000))
    with pytest.raises(NotFound):
        await store.get(KEY)
    store.close()


class TestHistory:
    async def test_a_watch_older_than_the_history_is_expired(self, tmp_path: Path) -> None:
        store = await open_store(tmp_path / "store.db", history_changes_max=5)
        made = await store.create(config())
        since = int(made["metadata"]["resourceVersion"])
        for number in range(5):
            await store.update(config(text=str(number + 1)))
        async with store.watch("configmaps", since=since) as events:
            assert [(await anext(events)).object["data"]["n"] for _ in range(5)] == ["1", "2", "3", "4", "5"]
        await store.update(config(text="6"))
        async with store.watch("configmaps", since=since) as events:
            with pytest.raises(Conflict) as caught:
                await anext(events)
        assert caught.value.reason == "Expired"
        store.close()

    async def test_it_outlives_the_process(self, tmp_path: Path) -> None:
        store = await open_store(tmp_path / "store.db")
        since = (await store.list("configmaps")).resource_version
        made = await store.create(config())
        store.close()
        store = SqliteStore.open(tmp_path / "store.db")
        async with store.watch("configmaps", since=since) as events:
            event = await asyncio.wait_for(anext(events), 5)
        assert (event.change, event.object) == (Change.ADDED, made)
        store.close()


async def test_a_watcher_that_falls_behind_is_expired_and_others_are_not(tmp_path: Path) -> None:
    store = SqliteStore.open(tmp_path / "store.db", history_changes_max=10)
    since = (await store.list("namespaces")).resource_version
    async with store.watch("namespaces", since=since) as slow, store.watch("namespaces", since=since) as quick:
        obj = await store.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "home"}})
        await anext(quick)
        for number in range(WATCH_CHANGES_MAX):
            obj["spec"] = {"n": number}
            obj = await store.update(obj)
            assert (await anext(quick)).object == obj
        with pytest.raises(Conflict) as caught:
            await anext(slow)
    assert caught.value.reason == "Expired"
    store.close()


async def test_only_what_is_wished_for_waits_for_the_disk(tmp_path: Path) -> None:
    store = await open_store(tmp_path / "store.db")

    def waited() -> bool:
        (level,) = store._database._connection.execute("PRAGMA synchronous").fetchone()
        return bool(level == 2)

    home = await store.get(Key("namespaces", "", "home"))
    seen = await store.update({**home, "status": {"phase": "Seen"}}, status=True)
    assert not waited()
    await store.update({**seen, "metadata": {**seen["metadata"], "labels": {"a": "b"}}})
    assert waited()
    await store.create({"apiVersion": "v1", "kind": "Event", "metadata": {"name": "a", "namespace": "home"}})
    assert not waited()
    await store.delete(Key("namespaces", "", "home"))
    assert waited()
    store.close()
