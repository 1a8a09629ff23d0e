from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest

from flambeau.serving.workers.starter import ForkStarter, starter_of, worker_environment
from tests.serving.workers.kit import serving, until, write_model

SHOWS_ITSELF = """
import os, sys

def handle(data, context):
    if data is None:
        return
    what = bytes(data[0]["body"]).decode()
    if what == "exit":
        raise SystemExit(5)
    if what == "random":
        import numpy
        return [str(numpy.random.random())]
    if what == "threads":
        import torch
        return [torch.get_num_threads()]
    if what == "compiler":
        return [str("torch._dynamo" in sys.modules)]
    if what == "torch":
        return [str("torch" in sys.modules)]
    return [str(os.getppid())]
"""


@pytest.fixture
async def forks(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[ForkStarter]:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    fork_starter = ForkStarter()
    fork_starter.begin()
    yield fork_starter
    pid = fork_starter.pid
    await fork_starter.close()
    assert pid is None or not psutil.pid_exists(pid)


async def test_workers_are_forks_with_torch_imported_and_one_thread(tmp_path: Path, forks: ForkStarter) -> None:
    async with serving(write_model(tmp_path, SHOWS_ITSELF, min_workers=2, max_workers=2), forks) as served:
        assert await served.ask(b"parent").text() == str(forks.pid)
        assert psutil.Process(forks.pid).num_threads() == 1, "a fork of a process with threads may hang"
        assert await served.ask(b"torch").text() == "True"
        assert await served.ask(b"compiler").text() == "False"
        assert await served.ask(b"threads").text() == "1"
        both = [served.ask(b"random") for _ in range(2)]  # one goes to each
        assert await both[0].text() != await both[1].text(), "forks share no random numbers"
        before = {status.pid for status in served.pool.workers()}
        assert len(before) == 2
        # How a fork ends comes from its parent, the fork server.
        assert "ended with exit code 5 while it answered" in await served.ask(b"exit").text()
        survivor = next(status.pid for status in served.pool.workers() if status.pid in before)
        assert survivor is not None
        os.kill(survivor, signal.SIGKILL)
        await until(lambda: len({status.pid for status in served.pool.workers()} - before - {None}) == 2)


async def test_a_model_that_uses_the_compiler_finds_it_imported(tmp_path: Path, forks: ForkStarter) -> None:
    spec = write_model(tmp_path, f"{SHOWS_ITSELF}\n# torch.compile")
    async with serving(spec, starter_of(spec, forks)) as served:
        assert await served.ask(b"compiler").text() == "True"
        assert await served.ask(b"parent").text() == str(forks.pid)


async def test_a_killed_fork_server_takes_its_workers_and_both_come_back(tmp_path: Path, forks: ForkStarter) -> None:
    async with serving(write_model(tmp_path, SHOWS_ITSELF), forks) as served:
        server, worker = forks.pid, served.pid
        assert server is not None
        os.kill(server, signal.SIGKILL)
        await until(lambda: served.pool.failure() is not None)
        failure = served.pool.failure()
        assert failure is not None
        assert "died with the fork server, which was killed by SIGKILL" in failure.message
        await until(lambda: served.pool.ready)
        # It has ended; whoever took it in when its parent died may not have looked yet.
        assert not psutil.pid_exists(worker) or psutil.Process(worker).status() == psutil.STATUS_ZOMBIE
        assert forks.pid not in (None, server)
        assert await served.ask(b"parent").text() == str(forks.pid)


async def test_a_fork_server_that_cannot_start_is_not_needed(tmp_path: Path, forks: ForkStarter) -> None:
    async with serving(write_model(tmp_path, SHOWS_ITSELF), forks, ready=False) as served:
        assert forks.pid is not None
        os.kill(forks.pid, signal.SIGKILL)  # while it imports
        await until(lambda: served.pool.ready)
        assert forks.pid is None
        assert await served.ask(b"parent").text() == str(os.getpid())


async def test_a_worker_can_be_let_go_before_the_fork_server_is_ready(tmp_path: Path, forks: ForkStarter) -> None:
    async with serving(write_model(tmp_path, SHOWS_ITSELF), forks, ready=False) as served:
        await served.pool.stop(grace_seconds=0.5)
        assert not served.pool.workers()


def test_the_operators_own_thread_count_stands() -> None:
    assert worker_environment({})["OMP_NUM_THREADS"] == "1"
    assert worker_environment({"OMP_NUM_THREADS": "4"})["OMP_NUM_THREADS"] == "4"
