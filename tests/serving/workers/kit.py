"""What tests of workers and queues share: a model from a few lines of code, a reply that records, a pool that leaves nothing behind."""

from __future__ import annotations

import asyncio
import textwrap
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from flambeau.serving.batching.kinds import queue_of
from flambeau.serving.batching.queue import ModelQueue
from flambeau.serving.model import Answer, Job, Method, ModelConfig, ModelSpec, Protocol
from flambeau.serving.workers.devices import Devices
from flambeau.serving.workers.machine import Limits
from flambeau.serving.workers.pool import WorkerPool
from flambeau.serving.workers.starter import FreshStarter, Starter

WAIT_SECONDS = 20.0
"""The most a test waits for what should take milliseconds."""

ECHO = """
def handle(data, context):
    return data and [bytes(row["body"]) for row in data]
"""


def write_model(directory: Path, code: str = ECHO, **config: Any) -> ModelSpec:
    """Return the spec of a model whose handler is this code."""
    (directory / "handler.py").write_text(textwrap.dedent(code))
    return ModelSpec("m", "1.0", directory, "m.mar", "handler.py", config=ModelConfig(**config))


def job(body: bytes = b"", *, method: Method = Method.PREDICT, protocol: Protocol = Protocol.TORCHSERVE, id: str = "id") -> Job:
    """Return a job."""
    return Job(id, protocol, method, "application/octet-stream", (), body)


@dataclass
class Recorder:
    """A reply that keeps what it is told."""

    answers: list[Answer] = field(default_factory=list)
    heads: list[Answer] = field(default_factory=list)
    parts: list[bytes] = field(default_factory=list)
    _told: asyncio.Event = field(default_factory=asyncio.Event)

    def answer(self, answer: Answer) -> None:
        self.answers.append(answer)
        self._told.set()

    def begin(self, head: Answer) -> None:
        self.heads.append(head)

    def chunks(self, parts: Sequence[bytes]) -> None:
        self.parts += parts

    async def wait(self) -> Answer:
        """Return the one answer."""
        await asyncio.wait_for(self._told.wait(), WAIT_SECONDS)
        assert len(self.answers) == 1, "one answer for each request"
        return self.answers[0]

    async def text(self) -> str:
        """Return the answer's body as text."""
        return (await self.wait()).body.decode()


@dataclass
class Served:
    """A running model."""

    pool: WorkerPool
    queue: ModelQueue
    log: list[str]

    def ask(self, body: bytes = b"", *, deadline: float | None = None, **kinds: Any) -> Recorder:
        """Submit a job now."""
        recorder = Recorder()
        self.queue.submit(job(body, **kinds), recorder, deadline=deadline)
        return recorder

    @property
    def pid(self) -> int:
        """The first worker's pid."""
        pid = self.pool.workers()[0].pid
        assert pid is not None
        return pid


@asynccontextmanager
async def serving(
    spec: ModelSpec,
    starter: Starter | None = None,
    *,
    limits: Limits | None = None,
    devices: Devices | None = None,
    ready: bool = True,
    grace_seconds: float = 0.5,
) -> AsyncIterator[Served]:
    """Run a model; at the end no worker process is left."""
    log: list[str] = []
    pool = WorkerPool(spec, starter or FreshStarter(), lambda _, line: log.append(line), limits=limits, devices=devices)
    queue = queue_of(spec, pool)
    pids: set[int] = set()
    try:
        pool.start()
        if ready:
            await pool.wait_ready(now() + WAIT_SECONDS)
        yield Served(pool, queue, log)
    finally:
        pids |= {status.pid for status in pool.workers() if status.pid is not None}
        await queue.drain(now())
        await pool.stop(grace_seconds=grace_seconds)
        assert not pool.workers()
        assert not [pid for pid in pids if psutil.pid_exists(pid)]


async def until(holds: Callable[[], Any], *, seconds: float = WAIT_SECONDS) -> None:
    """Wait until something holds."""
    deadline = now() + seconds
    while not holds():
        assert now() < deadline, "it never came true"
        await asyncio.sleep(0.01)


def now() -> float:
    """Return the loop's time."""
    return asyncio.get_running_loop().time()
