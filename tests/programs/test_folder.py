"""``flambeau serve DIR``: a folder that nobody packed, served and reloaded."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NoReturn

import httpx2
import pytest

from flambeau.foundation.errors import InvalidInput, NotFound
from flambeau.programs.folder import with_folder
from flambeau.programs.reload import Reloader
from flambeau.programs.settings.server import Flags
from flambeau.serving.repository import Registration, Repository
from tests.fixtures.archives import ECHO, write_mar
from tests.fixtures.waiting import until, until_told
from tests.programs.kit import Served, serving


def handler(word: str) -> str:
    return f"import time\ndef handle(data, context):\n    time.sleep(0.01)\n    return [{word} for row in data or []]\n"


def test_a_folder_is_a_model_or_a_store(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no such folder"):
        with_folder(Flags(folder=tmp_path / "absent"))
    with pytest.raises(InvalidInput, match="neither a handler nor archives"):
        with_folder(Flags(folder=tmp_path))
    write_mar(tmp_path, "echo", ECHO)
    as_store = with_folder(Flags(folder=tmp_path))
    assert (as_store.model_store, as_store.models, as_store.no_config_snapshots) == (str(tmp_path), ("all",), False)
    assert with_folder(Flags(folder=tmp_path, models=("echo.mar",))).models == ("echo.mar",)
    (tmp_path / "handler.py").write_text(handler("1"))
    as_model = with_folder(Flags(folder=tmp_path))
    assert (as_model.model_store, as_model.models, as_model.no_config_snapshots) == (str(tmp_path), (), True)


@asynccontextmanager
async def reloading(tmp_path: Path) -> AsyncIterator[tuple[Path, Served, httpx2.AsyncClient]]:
    """Serve a handler's folder that is watched; yield the folder, the server and a client of it."""
    folder = tmp_path / "my-model"
    folder.mkdir()
    (folder / "handler.py").write_text(handler("'one'"))
    async with (
        serving(tmp_path, [str(folder), "--reload", "--disable-token-auth"]) as served,
        httpx2.AsyncClient(base_url=served.url, timeout=60) as client,
    ):
        yield folder, served, client


async def test_edits_take_over_and_broken_ones_do_not(tmp_path: Path) -> None:
    async with reloading(tmp_path) as (folder, served, client):
        assert f'serving {folder} as model "my_model" 1.0: handler handler.py' in served.out.read_text()
        answers: list[tuple[int, str]] = []
        stop = asyncio.Event()

        async def ask() -> None:
            while not stop.is_set():
                answer = await client.post("/predictions/my_model", content=b"x")
                answers.append((answer.status_code, answer.text))

        async def ready() -> bool:
            return (await client.get("/v2/models/my_model/ready")).status_code == 200

        await until_told(ready)
        asking = [asyncio.create_task(ask()) for _ in range(3)]
        (folder / "handler.py").write_text(handler("'two'"))
        await until(lambda: (200, "two") in answers)
        (folder / "handler.py").write_text(handler("'bad"))
        await until(lambda: "the old model goes on serving" in served.err.read_text())
        assert "SyntaxError" in served.err.read_text()
        (folder / "notes.log").write_text("does not count")
        (folder / "handler.py").write_text(handler("'three'"))
        await until(lambda: (200, "three") in answers)
        stop.set()
        await asyncio.gather(*asking)
        assert {status for status, _ in answers} == {200}
        assert list(dict.fromkeys(word for _, word in answers)) == ["one", "two", "three"]
        # The old workers have ended: the server, its fork server and one worker are left.
        await until(lambda: len(served.family()) == 3)
        assert not (folder / "__pycache__").exists()


async def test_a_stores_archive_is_reloaded(tmp_path: Path) -> None:
    store = tmp_path / "store"
    write_mar(store, "m", ECHO)
    async with (
        serving(tmp_path, [str(store), "--reload", "--disable-token-auth", "--ncs"]) as served,
        httpx2.AsyncClient(base_url=served.url, timeout=60) as client,
    ):

        async def version() -> str:
            answer = await client.post("/predictions/m", json={"ask": "version"})
            return answer.text if answer.status_code == 200 else ""

        async def is_first() -> bool:
            return await version() == "1.0"

        async def is_second() -> bool:
            return await version() == "2.0"

        await until_told(is_first)
        write_mar(tmp_path / "elsewhere", "m", ECHO, version="2.0").rename(store / "m.mar")
        await until_told(is_second)
        assert [each["modelVersion"] for each in (await client.get("/models/m/all")).json()] == ["2.0"]


async def test_a_stores_models_come_and_go_with_their_archives(tmp_path: Path) -> None:
    store, aside = tmp_path / "store", tmp_path / "aside"
    write_mar(store, "first", ECHO)
    async with (
        serving(tmp_path, [str(store), "--reload", "--disable-token-auth", "--ncs"]) as served,
        httpx2.AsyncClient(base_url=served.url, timeout=60) as client,
    ):

        async def ready(name: str) -> bool:
            return (await client.get(f"/v2/models/{name}/ready")).status_code == 200

        async def gone(name: str) -> bool:
            return (await client.get(f"/v2/models/{name}/ready")).status_code == 404

        await until_told(lambda: ready("first"))
        write_mar(aside, "second", ECHO).rename(store / "second.mar")
        (aside / "third").mkdir()
        (aside / "third" / "MAR-INF").mkdir()
        (aside / "third" / "MAR-INF" / "MANIFEST.json").write_text('{"model": {"modelName": "third", "handler": "h.py"}}')
        (aside / "third" / "h.py").write_text(handler("'third'"))
        (aside / "third").rename(store / "third")
        await until_told(lambda: ready("second"))
        await until_told(lambda: ready("third"))
        assert (await client.post("/predictions/third", content=b"x")).text == "third"
        (store / "second.mar").unlink()
        (store / "third").rename(aside / "third")
        await until_told(lambda: gone("second"))
        await until_told(lambda: gone("third"))
        assert (await client.get("/v2/models")).json() == {"models": ["first"]}
        # The server, its fork server and the first model's workers are left.
        workers = len((await client.get("/models/first")).json()[0]["workers"])
        await until(lambda: len(served.family()) == 2 + workers)


async def test_a_folder_that_goes_and_comes_back_is_watched_again(tmp_path: Path) -> None:
    async with reloading(tmp_path) as (folder, served, client):

        async def says(word: str) -> bool:
            answer = await client.post("/predictions/my_model", content=b"x")
            return (answer.status_code, answer.text) == (200, word)

        await until_told(lambda: says("one"))
        folder.rename(tmp_path / "aside")
        await until(lambda: "cannot watch for changes" in served.err.read_text())
        assert await says("one")
        folder.mkdir()
        (folder / "handler.py").write_text(handler("'two'"))
        await until_told(lambda: says("two"))
        (folder / "handler.py").write_text(handler("'three'"))
        await until_told(lambda: says("three"))


async def test_an_error_that_nobody_foresaw_is_told_and_watching_goes_on(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    asked: list[str] = []

    class Failing(Repository):
        def __init__(self) -> None:
            pass

        async def replace(self, old: Registration, new: Registration, grace_seconds: float) -> NoReturn:
            asked.append(old.archive.parent.name)
            raise ZeroDivisionError("nobody foresaw it")

    def as_written(*_: object) -> NoReturn:
        raise AssertionError("nothing is read")

    archives = [write_mar(tmp_path / name, "m", ECHO) for name in ("first", "second")]
    reloader = Reloader(Failing(), [Registration(archive=archive, url="m.mar", configure=as_written) for archive in archives])
    watching = asyncio.create_task(reloader.run())

    async def both_were_tried_twice() -> bool:
        for archive in archives:
            archive.touch()
        await asyncio.sleep(0.1)  # nobody tells when watching has begun, and changes without a pause never count as over
        return min(asked.count("first"), asked.count("second")) >= 2

    try:
        await until_told(both_were_tried_twice)
    finally:
        watching.cancel()
        await asyncio.wait([watching])
    told = [each for each in caplog.records if "the old model goes on serving: nobody foresaw it" in each.getMessage()]
    assert len(told) == len(asked)
    assert told[0].exc_info is not None
