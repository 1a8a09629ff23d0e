"""Parallel workers: processes that torchrun starts, brought together by gloo. Slow: each process imports torch."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import psutil
import pytest

from flambeau.serving.model import ModelSpec, Parallelism
from flambeau.serving.workers.group import torchrun_command
from flambeau.serving.workers.starter import FreshStarter, starter_of
from tests.serving.workers.kit import serving, until, write_model

START_SECONDS = 90.0

SUMS = """
import os, sys, time
import torch
import torch.distributed as dist

class Handler:
    def initialize(self, context):
        if os.path.exists("broken") and os.environ["RANK"] == "1":
            raise RuntimeError("no shard for me")
        dist.init_process_group("gloo")
        self.rank = dist.get_rank()

    def handle(self, data, context):
        if bytes(data[0]["body"]) == b"die":
            if self.rank == 1:
                print("rank 1 gives up", file=sys.stderr, flush=True)
                os._exit(7)
            time.sleep(60)
        total = torch.tensor([float(len(bytes(row["body"])) + self.rank) for row in data])
        dist.all_reduce(total)
        return [{"sum": value, "rank": self.rank, "threads": os.environ["OMP_NUM_THREADS"]} for value in total.tolist()]
"""


def parallel(directory: Path) -> ModelSpec:
    return write_model(directory, SUMS, parallelism=Parallelism("tp", 2, compute_threads=3), startup_timeout_seconds=START_SECONDS)


async def test_two_processes_answer_as_one_worker_and_a_dead_one_is_told(tmp_path: Path) -> None:
    spec = parallel(tmp_path)
    async with serving(spec, starter_of(spec, FreshStarter()), ready=False) as served:
        await served.pool.wait_ready(served.queue._loop.time() + START_SECONDS)
        assert json.loads(await served.ask(b"abc").text()) == {"sum": 7.0, "rank": 0, "threads": "3"}
        assert json.loads(await served.ask(b"").text())["sum"] == 1.0
        family = psutil.Process(served.pid).children(recursive=True)
        assert len(family) == 3, "torchrun and two ranks"
        text = await served.ask(b"die").text()
        assert text.startswith("Worker died. worker 1 of model m 1.0 ended with exit code 1 while it answered")
        failure = served.pool.failure()
        assert failure is not None
        assert "rank 1 of 2 ended first" in failure.message
        assert any("rank 1 gives up" in line for line in served.log)
        served.pool.scale(0, 0)
        await until(lambda: not served.pool.workers())
    await until(lambda: not [process for process in family if process.is_running() and process.status() != psutil.STATUS_ZOMBIE])


async def test_a_rank_that_cannot_load_is_named_and_a_killed_leader_takes_its_ranks_along(tmp_path: Path) -> None:
    (tmp_path / "broken").touch()
    spec = parallel(tmp_path)
    async with serving(spec, starter_of(spec, FreshStarter()), ready=False) as served:
        await until(lambda: served.pool.workers() and served.pool.workers()[0].pid, seconds=START_SECONDS)
        await until(lambda: len(psutil.Process(served.pid).children(recursive=True)) == 3, seconds=START_SECONDS)
        family = psutil.Process(served.pid).children(recursive=True)
        await until(lambda: served.pool.failure() is not None, seconds=START_SECONDS)
        failure = served.pool.failure()
        assert failure is not None
        assert "no shard for me" in failure.message
        assert "(rank 1 of 2)" in failure.message
        await until(lambda: not [each for each in family if each.is_running() and each.status() != psutil.STATUS_ZOMBIE])
        await until(lambda: served.pool.workers() and served.pool.workers()[0].pid, seconds=START_SECONDS)
        await until(lambda: len(psutil.Process(served.pid).children(recursive=True)) == 3, seconds=START_SECONDS)
        family = psutil.Process(served.pid).children(recursive=True)
        os.kill(served.pid, signal.SIGKILL)
        await until(lambda: not [each for each in family if each.is_running() and each.status() != psutil.STATUS_ZOMBIE])


def test_torchruns_command_line(tmp_path: Path) -> None:
    spec = parallel(tmp_path)
    command = " ".join(torchrun_command(Parallelism("pp", 4, 2, "etcd", "host:1"), tmp_path / "ranks", spec))
    assert "-m torch.distributed.run --nnodes 2 --nproc-per-node 4 --rdzv-backend etcd --rdzv-endpoint host:1 --rdzv-id m-" in command
    assert "--local-addr" not in command
    alone = torchrun_command(Parallelism("pp", 4), tmp_path / "ranks", spec)
    assert alone[alone.index("--rdzv-endpoint") + 1] == "127.0.0.1:0"


@pytest.mark.parametrize("kind", ["custom", None])
def test_a_worker_of_one_process_is_a_fork(tmp_path: Path, kind: str | None) -> None:
    forks = FreshStarter()
    spec = write_model(tmp_path, parallelism=Parallelism(kind, 2) if kind else None)
    assert starter_of(spec, forks) is forks
