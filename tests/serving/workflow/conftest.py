"""A repository with real workers, without torch, and the workflows above it; all in this process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest_asyncio

from flambeau.serving.archive.source import ArchiveSource
from flambeau.serving.dataplane import DataPlane
from flambeau.serving.management import Wish
from flambeau.serving.metrics.server import ServerMetrics
from flambeau.serving.model import ModelConfig
from flambeau.serving.repository import Origin, Registration, Repository
from flambeau.serving.workers.starter import FreshStarter
from flambeau.serving.workflow.registry import Workflows, WorkflowWish
from flambeau.serving.workflow.run import WorkflowRequest
from tests.fixtures.archives import write_war


def registration(wish: Wish, archive: Path) -> Registration:
    config = ModelConfig(startup_timeout_seconds=30, response_timeout_seconds=30)
    return Registration(
        archive, wish.url, lambda name, version, yaml: (config, []), name=wish.name, handler=wish.handler, origin=Origin.REQUEST
    )


@dataclass
class House:
    """Workflows, and what they stand on."""

    root: Path
    store: Path
    repository: Repository
    workflows: Workflows
    metrics: ServerMetrics

    async def register(self, name: str, spec: str, functions: str = "") -> None:
        write_war(self.store, name, spec, functions)
        await self.workflows.register(WorkflowWish(f"{name}.war"))

    async def predict(self, name: str, body: bytes = b"", content_type: str = "text/plain") -> Mapping[str, bytes]:
        request = WorkflowRequest("request-1", content_type, (("X-Mine", "yes"),), body)
        return await asyncio.wait_for(self.workflows.predict(name, request), 30)

    def pids(self) -> list[int]:
        return [worker.pid for model in self.repository.models() for worker in model.pool.workers() if worker.pid is not None]

    def left(self) -> list[Path]:
        return [path for folder in ("models", "workflows") for path in (self.root / folder).glob("*")]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def house(tmp_path_factory: object) -> AsyncIterator[House]:
    root: Path = tmp_path_factory.mktemp("workflows")  # type: ignore[attr-defined]  # pytest's own
    store = root / "store"
    store.mkdir()
    metrics = ServerMetrics(lambda: [])
    repository = Repository(root / "models", FreshStarter())
    workflows = Workflows(
        repository,
        DataPlane(repository),
        metrics,
        directory=root / "workflows",
        source=ArchiveSource(store, what="Workflow"),
        models=ArchiveSource(store),
        register=registration,
        unregister_seconds=5.0,
    )
    yield House(root, store, repository, workflows, metrics)
    await repository.stop(1)
