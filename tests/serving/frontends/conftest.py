"""Real doors on loopback over a real repository, in this process; workers are fresh interpreters without torch."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import httpx2
import pytest_asyncio

from flambeau.foundation import http1
from flambeau.serving.archive.source import ArchiveSource
from flambeau.serving.dataplane import DataPlane
from flambeau.serving.frontends.access_log import AccessLog
from flambeau.serving.frontends.http import HttpFrontend
from flambeau.serving.frontends.routes import Plane
from flambeau.serving.management import Management, Wish
from flambeau.serving.metrics.server import ServerMetrics
from flambeau.serving.model import ModelConfig
from flambeau.serving.repository import Origin, Registration, Repository
from flambeau.serving.workers.starter import FreshStarter
from flambeau.serving.workflow.registry import Workflows
from tests.fixtures.archives import BROKEN, ECHO, OBEDIENT, write_mar
from tests.fixtures.waiting import until

REQUEST_BYTES_MAX = 2_000


@dataclass
class House:
    """One server with its doors."""

    client: httpx2.AsyncClient
    """To the door that serves everything."""
    inference_only: str
    address: tuple[str, int]
    dataplane: DataPlane
    repository: Repository
    frontend: HttpFrontend
    log: io.BytesIO


def registration(archive: Path, **config: int) -> Registration:
    merged = ModelConfig(min_workers=1, max_workers=1, **config)  # type: ignore[arg-type]  # numbers all
    return Registration(archive, archive.name, lambda name, version, yaml: (merged, []), is_default="2.0" in archive.name)


def management_of(repository: Repository, store: Path) -> Management:
    async def unheard() -> None:
        pass

    def register(wish: Wish, archive: Path) -> Registration:
        workers = wish.initial_workers or 0
        config = ModelConfig(min_workers=workers, max_workers=workers)
        return Registration(archive, wish.url, lambda name, version, yaml: (config, []), name=wish.name, origin=Origin.REQUEST)

    return Management(repository, ArchiveSource(store), register, unregister_seconds=5.0, on_change=unheard)


def workflows_of(repository: Repository, dataplane: DataPlane, metrics: ServerMetrics, root: Path) -> Workflows:
    def register(wish: Wish, archive: Path) -> Registration:
        return Registration(
            archive, wish.url, lambda name, version, yaml: (ModelConfig(), []), name=wish.name, handler=wish.handler, origin=Origin.REQUEST
        )

    source = ArchiveSource(root / "store")
    return Workflows(
        repository,
        dataplane,
        metrics,
        directory=root / "workflows",
        source=ArchiveSource(root / "store", what="Workflow"),
        models=source,
        register=register,
        unregister_seconds=5.0,
    )


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def house(tmp_path_factory: object) -> AsyncIterator[House]:
    root: Path = tmp_path_factory.mktemp("house")  # type: ignore[attr-defined]  # pytest's own
    store = root / "store"
    metrics = ServerMetrics(lambda: [model.reading() for model in repository.models()])
    repository = Repository(root / "unpacked", FreshStarter(), metrics=metrics)
    dataplane = DataPlane(repository)
    log = io.BytesIO()
    frontend = HttpFrontend(
        dataplane,
        management_of(repository, store),
        metrics,
        access_log=AccessLog(log),
        request_bytes_max=REQUEST_BYTES_MAX,
        model_api=False,
        workflows=workflows_of(repository, dataplane, metrics, root),
    )
    everything, inference = http1.Server(frontend.door(frozenset(Plane))), http1.Server(frontend.door(frozenset({Plane.INFERENCE})))
    address = await everything.start(host="127.0.0.1", port=0)
    other = await inference.start(host="127.0.0.1", port=0)
    repository.register(registration(write_mar(store, "echo", ECHO)))
    repository.register(registration(write_mar(store, "echo", ECHO, file="echo2.0.mar", version="2.0")))
    repository.register(registration(write_mar(store, "busy", OBEDIENT), job_queue_size=1))
    repository.register(registration(write_mar(store, "broken", BROKEN)))
    torn = store / "torn.mar"
    torn.write_bytes(b"this is no archive")
    repository.register(registration(torn))
    client = httpx2.AsyncClient(base_url=f"http://127.0.0.1:{address[1]}", timeout=30)
    try:
        await until(lambda: _settled(dataplane), 60)
        yield House(client, f"http://127.0.0.1:{other[1]}", address, dataplane, repository, frontend, log)
    finally:
        await client.aclose()
        for server in (everything, inference):
            await server.close()
        await repository.stop(1)
        await frontend.close()


def _settled(dataplane: DataPlane) -> bool:
    return len(dataplane.models()) == 4 and all(standing.ready or standing.failed for standing in dataplane.standings())
