"""Configuration snapshots across restarts of a real server."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import httpx2
import javaproperties
import pytest

from flambeau.programs.settings.snapshot import snapshot_to_restore
from tests.fixtures.archives import ECHO, write_mar
from tests.fixtures.waiting import until, until_told
from tests.programs.kit import CONFIG, Served, serving


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in ("echo", "other"):
        write_mar(tmp_path / "store", name, ECHO)
    write_mar(tmp_path / "store", "echo", ECHO, file="echo2.mar", version="2.0")
    (tmp_path / "settings").write_text(CONFIG + "job_queue_size=7\nenable_model_api=true\n")
    return tmp_path


def names(root: Path) -> list[str]:
    return sorted(path.name for path in (root / "logs" / "config").glob("*"))


def newest(root: Path) -> tuple[dict[str, str], dict[str, Any]]:
    """Return the newest snapshot's properties and its models."""
    lines = javaproperties.loads((root / "logs" / "config" / names(root)[-1]).read_text())
    return lines, json.loads(lines["model_snapshot"])


async def ended(served: Served) -> None:
    served.process.terminate()
    assert await served.ended() == 0, served.err.read_text()


async def until_ready(client: httpx2.AsyncClient) -> None:
    async def ready() -> bool:
        return (await client.get("/v2/health/ready")).status_code == 200

    await until_told(ready)


async def test_what_was_changed_over_the_api_is_there_after_a_restart(root: Path) -> None:
    flags = ["--ts-config", "settings", "--model-store", "store", "--models", "echo=echo.mar"]
    async with serving(root, flags) as served, httpx2.AsyncClient(base_url=served.url, timeout=60) as client:
        await until(lambda: (root / "logs" / "config").exists() and names(root))
        assert re.fullmatch(r"\d{17}-startup\.cfg", names(root)[0])
        before = len(names(root))
        await until_ready(client)
        await client.post("/models", params={"url": "echo2.mar", "initial_workers": 1, "batch_size": 3})
        await client.put("/models/echo/2.0/set-default")
        await client.put("/models/echo/1.0", params={"min_worker": 1, "max_worker": 2, "synchronous": "true"})
        assert len(names(root)) == before + 3
        assert names(root)[-1].endswith("-snapshot.cfg")
        await ended(served)
    assert names(root)[-1].endswith("-shutdown.cfg")
    lines, snapshot = newest(root)
    assert (lines["job_queue_size"], lines["model_store"]) == ("7", "store")
    assert snapshot["name"] == names(root)[-1]
    assert snapshot["modelCount"] == 2
    assert snapshot["created"] > 1.6e12
    assert snapshot["models"]["echo"]["2.0"] == {
        "defaultVersion": True,
        "marName": "echo2.mar",
        "minWorkers": 1,
        "maxWorkers": 1,
        "batchSize": 3,
        "maxBatchDelay": 100,
        "responseTimeout": 120,
        "startupTimeout": 120,
        "runtimeType": "python",
    }

    # The kit writes ./config.properties anew, so the snapshot has to be the younger one.
    restored = root / "logs" / "config" / names(root)[-1]
    async with serving_after_touch(root, restored, []) as served, httpx2.AsyncClient(base_url=served.url, timeout=60) as client:
        assert "restored from the snapshot" in served.err.read_text()
        await until_ready(client)
        assert (await client.post("/predictions/echo", json={"ask": "version"})).text == "2.0"
        [first, second] = (await client.get("/models/echo/all")).json()
        assert {(each["modelVersion"], each["maxWorkers"]) for each in (first, second)} == {("1.0", 2), ("2.0", 1)}
        assert first["jobQueueStatus"]["remainingCapacity"] == 7
        assert first["loadedAtStartup"] is False
        await ended(served)


def serving_after_touch(root: Path, snapshot: Path, flags: list[str]) -> Any:
    """Serve without naming a config file, where the snapshot is younger than ./config.properties."""
    (root / "config.properties").write_text(CONFIG)
    snapshot.touch()
    return serving(root, flags, config=None)


async def test_a_flag_wins_over_a_snapshot(root: Path) -> None:
    flags = ["--ts-config", "settings", "--model-store", "store", "--models", "echo.mar"]
    async with serving(root, flags) as served:
        await until(lambda: (root / "logs" / "config").exists() and names(root))
        await ended(served)
    restored = root / "logs" / "config" / names(root)[-1]
    for given, models in ((["--models", "other.mar"], ["other"]), (["--model-store", "store", "--models", "other.mar"], ["other"])):
        async with serving_after_touch(root, restored, given) as served, httpx2.AsyncClient(base_url=served.url) as client:
            assert "the snapshot's models are not restored" in served.err.read_text()
            await until_ready(client)
            assert [model["modelName"] for model in (await client.get("/models")).json()["models"]] == models
            served.process.kill()
            await served.ended()
        restored = root / "logs" / "config" / names(root)[-1]
    async with serving_after_touch(root, restored, ["--ncs", "--model-store", "store"]) as served:
        assert "restored" not in served.err.read_text()
        kept = names(root)
        await ended(served)
    assert names(root) == kept


async def test_a_changed_config_file_wins_over_an_older_snapshot(root: Path) -> None:
    flags = ["--ts-config", "settings", "--model-store", "store", "--models", "echo.mar"]
    async with serving(root, flags) as served:
        await until(lambda: (root / "logs" / "config").exists() and names(root))
        await ended(served)
    async with serving(root, ["--model-store", "store"]) as served:
        assert "restored" not in served.err.read_text()
        await ended(served)


def test_only_snapshots_are_restored(tmp_path: Path) -> None:
    config = tmp_path / "config.properties"
    assert snapshot_to_restore(tmp_path, config) is None
    for name in ("20260101000000000-startup.cfg", "20260102000000000-shutdown.cfg", "zzz.cfg", "20270101000000000-mine.cfg"):
        (tmp_path / name).touch()
    assert snapshot_to_restore(tmp_path, config) == tmp_path / "20260102000000000-shutdown.cfg"


async def test_the_oldest_are_removed(root: Path) -> None:
    async with serving(root, ["--ts-config", "settings", "--model-store", "store"]) as served, httpx2.AsyncClient() as client:
        client.base_url = served.url
        for _ in range(8):
            await client.post("/models", params={"url": "echo.mar", "initial_workers": 0})
            await client.delete("/models/echo")
        assert len(names(root)) == 10
        await ended(served)


async def test_a_folder_that_cannot_be_written_stops_nothing(root: Path) -> None:
    (root / "logs").write_text("a file where the folder should be")
    async with serving(root, ["--ts-config", "settings", "--model-store", "store"]) as served, httpx2.AsyncClient() as client:
        client.base_url = served.url
        assert (await client.post("/models", params={"url": "echo.mar", "initial_workers": 0})).status_code == 200
        await until(lambda: "no more snapshots" in served.err.read_text())
        await ended(served)
