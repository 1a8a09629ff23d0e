"""What the agent tells a pod's server about TrainedModels, and what it notes; the server is a stand-in behind a real socket."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from flambeau.control.agent.directory import PodDirectory, PodId
from flambeau.control.agent.trained_models import TrainedModels
from flambeau.control.resources.kind import Key, Object
from flambeau.control.resources.trained_models import Loaded, Wanted, config_data, config_name, loaded_of
from flambeau.foundation.http1 import ANSWERED, Connection, Exchange, Head, Server
from flambeau.storage.cache import Cache
from tests.control.agent.world import World
from tests.fixtures.waiting import until, until_told

SECONDS_MAX = 20
POD = Key("pods", "ns", "p")
CONFIG = Key("configmaps", "ns", config_name("s"))


class ModelServer:
    """Has models, and does what it is told."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.refuses = False
        self.knows: set[str] = set()

    def application(self, head: Head, connection: Connection) -> Exchange:
        self.asked.append(f"{head.method} {head.target.decode()}")
        name = head.target.decode().partition("model_name=")[2].partition("&")[0] or head.target.decode().rpartition("/")[2]
        status = 200
        if head.method == "DELETE":
            status = 200 if name in self.knows else 404
            self.knows.discard(name)
        elif self.refuses:
            status = 500
        elif name in self.knows:
            status = 409
        else:
            self.knows.add(name)
        connection.respond(status, [], b'{"message":"the handler says no"}')
        return ANSWERED


class Bench:
    """Trained models of one service with one pod."""

    def __init__(self, world: World, cache: Cache, server: ModelServer, directory: PodDirectory, tested: TrainedModels) -> None:
        self.world, self.cache, self.server, self.directory, self.tested = world, cache, server, directory, tested

    async def want(self, **uris: Path) -> None:
        models = [Wanted(name, f"file://{path}", "pytorch", "1Gi") for name, path in uris.items()]
        current = await self.world.store.get(CONFIG)
        await self.world.store.update({**current, "data": config_data(models)})

    async def noted(self) -> dict[str, Loaded]:
        return loaded_of(await self.world.store.get(POD))

    async def until(self, fits: Callable[[dict[str, Loaded]], Any]) -> dict[str, Loaded]:
        async def fit() -> object:
            return fits(await self.noted())

        await until_told(fit, SECONDS_MAX)
        return await self.noted()

    async def set_status(self, *, ready: bool, restarts: int = 0) -> None:
        status = {"conditions": [{"type": "Ready", "status": str(ready)}], "containerStatuses": [{"restartCount": restarts}]}
        await self.world.store.update({**await self.world.store.get(POD), "status": status}, status=True)


@pytest.fixture
async def bench(world: World) -> AsyncIterator[Bench]:
    labels = {"serving.kserve.io/inferenceservice": "s", "component": "predictor"}
    pod: Object = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "p", "namespace": "ns", "labels": labels},
        "spec": {"containers": []},
    }
    await world.store.create({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default", "namespace": "ns"}})
    made = await world.store.create(pod)
    config = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": CONFIG.name, "namespace": "ns"}, "data": config_data([])}
    await world.store.create(config)
    directory = PodDirectory(world.home / "pods", PodId.of(made))
    directory.create()
    behind = ModelServer()
    server = Server(behind.application)
    await server.start_unix(directory.models_door)
    cache = Cache(world.home / "cache", 10**9)
    tested = TrainedModels(world.store, world.home / "pods", cache, world.clock)
    running = asyncio.create_task(tested.run())
    made_bench = Bench(world, cache, behind, directory, tested)
    await made_bench.set_status(ready=True)
    yield made_bench
    running.cancel()
    await asyncio.wait([running])
    await server.close()


def folder(path: Path, *files: str) -> Path:
    for name in files:
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_text(name)
    return path


@pytest.mark.parametrize(
    ("files", "url"),
    [
        (["m.mar"], "a%2Fm.mar"),
        (["config/config.properties", "model-store/m.mar"], "a%2Fmodel-store%2Fm.mar"),
        (["model.joblib"], "a"),
        (["one.mar", "two.mar"], "a"),
    ],
)
async def test_the_server_is_told_where_the_model_is(bench: Bench, tmp_path: Path, files: list[str], url: str) -> None:
    where = folder(tmp_path / "model", *files)
    await bench.want(a=where)
    assert await bench.until(lambda noted: "a" in noted) == {"a": Loaded(f"file://{where}", 0)}
    assert bench.server.asked == [f"POST /models?url={url}&model_name=a&initial_workers=1&synchronous=true"]
    assert (bench.directory.more_models / "a").resolve() == where.resolve()


async def test_what_is_not_wanted_any_more_goes(bench: Bench, tmp_path: Path) -> None:
    await bench.want(a=folder(tmp_path / "a", "a.mar"), b=folder(tmp_path / "b", "b.mar"))
    await bench.until(lambda noted: len(noted) == 2)
    assert any("trained/" in holder for holders in bench.cache.leases().values() for holder in holders)
    bench.tested.release_abandoned([bench.directory.id.uid])
    assert len(bench.cache.leases()) == 2
    await bench.want()
    await bench.until(lambda noted: not noted)
    assert bench.server.knows == set()
    assert list(bench.directory.more_models.iterdir()) == []
    assert not any(bench.cache.leases().values())


async def test_what_pods_that_are_gone_held_is_given_back(bench: Bench, tmp_path: Path) -> None:
    await bench.want(a=folder(tmp_path / "a", "a.mar"))
    await bench.until(lambda noted: "a" in noted)
    bench.tested.release_abandoned([])
    assert not any(bench.cache.leases().values())


async def test_a_model_of_another_place_takes_the_olds(bench: Bench, tmp_path: Path) -> None:
    await bench.want(a=folder(tmp_path / "old", "a.mar"))
    await bench.until(lambda noted: "a" in noted)
    await bench.want(a=folder(tmp_path / "new", "a.mar"))
    await bench.until(lambda noted: "a" in noted and noted["a"].uri.endswith("new"))
    assert [each.partition(" ")[0] for each in bench.server.asked] == ["POST", "DELETE", "POST"]


async def test_a_server_that_starts_anew_gets_it_anew(bench: Bench, tmp_path: Path) -> None:
    await bench.want(a=folder(tmp_path / "a", "a.mar"))
    await bench.until(lambda noted: "a" in noted)
    await bench.set_status(ready=False, restarts=1)
    bench.server.knows.clear()
    await bench.set_status(ready=True, restarts=1)
    await bench.until(lambda noted: noted["a"].run == 1)
    assert bench.server.knows == {"a"}


async def test_a_model_that_nobody_noted_makes_way(bench: Bench, tmp_path: Path) -> None:
    bench.server.knows.add("a")
    await bench.want(a=folder(tmp_path / "a", "a.mar"))
    assert not (await bench.until(lambda noted: "a" in noted))["a"].error
    assert [each.partition(" ")[0] for each in bench.server.asked] == ["POST", "DELETE", "POST"]


async def test_a_failure_is_noted_and_tried_again(bench: Bench, tmp_path: Path) -> None:
    bench.server.refuses = True
    await bench.want(a=folder(tmp_path / "a", "a.mar"), gone=tmp_path / "nowhere")
    noted = await bench.until(lambda noted: len(noted) == 2)
    assert noted["a"].error == "the server answers 500: the handler says no"
    assert "nowhere" in noted["gone"].error
    bench.server.refuses = False
    await bench.until(lambda noted: not noted["a"].error)


async def test_a_pod_is_held_back_until_each_was_tried(bench: Bench, tmp_path: Path) -> None:
    await bench.set_status(ready=False)
    bench.server.refuses = True
    assert bench.tested.held_back(bench.directory.id) == ""
    await bench.want(a=folder(tmp_path / "a", "a.mar"))
    seen: set[str] = set()

    def held_back() -> str:
        seen.add(why := bench.tested.held_back(bench.directory.id))
        return why

    await until(held_back, SECONDS_MAX)
    await bench.until(lambda noted: noted.get("a", Loaded("", 0)).error)
    await until(lambda: not held_back(), SECONDS_MAX)
    assert seen == {"", "its server answers; TrainedModels still to load: a"}


@pytest.mark.parametrize(
    "listed",
    [
        "[{",
        "3",
        '[3, {"modelName": "m"}, {"modelName": "m", "modelSpec": 3}, {"modelName": ["m"], "modelSpec": {"storageUri": "file:///x"}}]',
        '[{"modelName": "../../../m", "modelSpec": {"storageUri": "file:///x"}}, {"modelName": "..", "modelSpec": {}}]',
    ],
)
async def test_a_config_that_somebody_wrote_by_hand_harms_nothing(bench: Bench, tmp_path: Path, listed: str) -> None:
    current = await bench.world.store.get(CONFIG)
    await bench.world.store.update({**current, "data": {"models.json": listed}})
    pod = await bench.world.store.get(POD)
    odd = {"flambeau.dev/trained-models": '{"../../m": {"uri": "x", "run": 0}, "n": 3}'}
    await bench.world.store.update({**pod, "metadata": {**pod["metadata"], "annotations": odd}})
    await bench.want(good=folder(tmp_path / "good", "m.mar"))
    assert list(await bench.until(lambda noted: noted.get("good"))) == ["good"]
    assert [call for call in bench.server.asked if "good" not in call] == []
