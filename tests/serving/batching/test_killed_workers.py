"""Accepted means answered, once; run at most once; whatever dies meanwhile."""

from __future__ import annotations

import asyncio
import os
import random
import signal
from collections import Counter
from pathlib import Path

import pytest

from flambeau.foundation.errors import FlambeauError, Overloaded
from flambeau.serving.batching import queue
from flambeau.serving.workers.machine import State
from tests.serving.workers.kit import Recorder, Served, job, now, serving, until, write_model

WRITES_DOWN = """
import os, time
ran = os.open("ran", os.O_WRONLY | os.O_CREAT | os.O_APPEND)

def handle(data, context):
    if data is None:
        return
    os.write(ran, b"".join(bytes(row["body"]) + b"\\n" for row in data))
    time.sleep(0.003)
    return [bytes(row["body"]) for row in data]
"""


async def submit_all(served: Served, count: int) -> dict[str, Recorder]:
    """Submit jobs as fast as the queue takes them; return those it accepted."""
    accepted: dict[str, Recorder] = {}
    for number in range(count):
        recorder = Recorder()
        try:
            served.queue.submit(job(str(number).encode()), recorder, deadline=now() + 30)
            accepted[str(number)] = recorder
        except FlambeauError:
            await asyncio.sleep(0.01)
        if number % 4 == 0:
            await asyncio.sleep(0.001)
    return accepted


async def test_every_accepted_request_is_answered_once_and_run_at_most_once_while_workers_are_killed(tmp_path: Path) -> None:
    chance = random.Random(7)
    spec = write_model(tmp_path, WRITES_DOWN, batch_size=3, min_workers=2, max_workers=3, job_queue_size=50)
    async with serving(spec) as served:
        submitting = asyncio.ensure_future(submit_all(served, 600))
        kills = 0
        while not submitting.done():
            victims = [status.pid for status in served.pool.workers() if status.state in (State.IDLE, State.BUSY) and status.pid]
            if victims:
                os.kill(chance.choice(victims), chance.choice([signal.SIGKILL, signal.SIGTERM, signal.SIGSEGV]))
                kills += 1
            await asyncio.sleep(0.05)
        accepted = await submitting
        answers = {name: await reply.wait() for name, reply in accepted.items()}
        assert kills > 3
        assert set(Counter(answer.status for answer in answers.values())) <= {200, 500, 503, 507}
        assert all(answer.body.decode() == name for name, answer in answers.items() if answer.status == 200)
        lost = [answer for answer in answers.values() if answer.status in (500, 507)]
        assert lost
        assert all(answer.body.startswith(b"Worker died. worker ") for answer in lost)
        # Only what was in flight on a dead worker is lost.
        assert len(lost) <= kills * 3
        await until(lambda: served.pool.ready)
        assert served.queue.pending == served.queue.in_flight == 0
    ran = Counter((tmp_path / "ran").read_text().split())
    assert max(ran.values()) == 1
    assert set(ran) <= set(accepted)


async def test_scaling_to_and_fro_loses_nothing(tmp_path: Path) -> None:
    spec = write_model(tmp_path, WRITES_DOWN, batch_size=3, min_workers=1, max_workers=3, job_queue_size=1000)
    async with serving(spec) as served:
        submitting = asyncio.ensure_future(submit_all(served, 300))
        wish = 1
        while not submitting.done():
            wish = 4 - wish
            served.pool.scale(wish, wish)
            await asyncio.sleep(0.05)
        accepted = await submitting
        assert len(accepted) == 300
        assert [(await reply.wait()).body.decode() for reply in accepted.values()] == list(accepted)
    assert Counter((tmp_path / "ran").read_text().split()) == Counter(list(accepted))


@pytest.mark.parametrize("ahead_seconds", [queue.AHEAD_SECONDS, 1.0], ids=["one ahead", "many ahead"])
async def test_what_a_killed_worker_had_ahead_is_run_once_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ahead_seconds: float
) -> None:
    monkeypatch.setattr(queue, "AHEAD_SECONDS", ahead_seconds)
    chance = random.Random(11)
    spec = write_model(tmp_path, WRITES_DOWN, min_workers=1, max_workers=1, job_queue_size=50)
    async with serving(spec) as served:
        submitting = asyncio.ensure_future(submit_all(served, 800))
        kills = 0
        while not submitting.done():
            [victim] = [status.pid for status in served.pool.workers()] or [None]
            if victim is not None and served.queue.batches_by_size:
                os.kill(victim, chance.choice([signal.SIGKILL, signal.SIGTERM, signal.SIGSEGV]))
                kills += 1
                served.queue.batches_by_size.clear()
            await asyncio.sleep(chance.uniform(0.01, 0.05))
        accepted = await submitting
        answers = {name: await reply.wait() for name, reply in accepted.items()}
        assert kills >= 3
        lost = [name for name, answer in answers.items() if answer.status in (500, 507)]
        assert len(lost) <= kills  # the one it worked on, or was about to
        assert served.queue.pending == served.queue.in_flight == 0
    ran = Counter((tmp_path / "ran").read_text().split())
    assert max(ran.values()) == 1
    assert {name for name, answer in answers.items() if answer.status == 200} <= set(ran)


async def test_a_batch_ahead_counts_as_waiting_and_outlives_its_worker(tmp_path: Path) -> None:
    code = """
    import os, pathlib, time

    def handle(data, context):
        for row in data or ():
            if bytes(row["body"]) == b"die":
                while not pathlib.Path("gate").exists():
                    time.sleep(0.005)
                os._exit(3)
        return data and [bytes(row["body"]) for row in data]
    """
    async with serving(write_model(tmp_path, code, job_queue_size=2)) as served:
        assert await served.ask(b"short").text() == "short"
        dying, ahead, queued = served.ask(b"die"), served.ask(b"ahead"), served.ask(b"queued")
        await until(lambda: served.queue.in_flight == 1)
        with pytest.raises(Overloaded, match="2 requests wait already"):
            served.ask(b"one more")
        (tmp_path / "gate").touch()
        assert (await dying.wait()).status == 500
        assert [await ahead.text(), await queued.text()] == ["ahead", "queued"]


async def test_a_job_ahead_is_left_out_when_its_client_goes(tmp_path: Path) -> None:
    code = """
    import pathlib, time

    def handle(data, context):
        for row in data or ():
            if bytes(row["body"]) == b"gate":
                while not pathlib.Path("gate").exists():
                    time.sleep(0.005)
            else:
                pathlib.Path(bytes(row["body"]).decode()).touch()
        return data and [bytes(row["body"]) for row in data]
    """
    async with serving(write_model(tmp_path, code, batch_size=3)) as served:
        assert await served.ask(b"short").text() == "short"
        running = served.ask(b"gate")
        await until(lambda: served.queue.in_flight == 1)
        staying, late = served.ask(b"staying"), Recorder()
        tickets = [served.queue.submit(job(b"gone"), Recorder()), served.queue.submit(job(b"late"), late, deadline=now() + 0.1)]
        assert served.queue.pending == 3
        served.queue.cancel(tickets[0])
        assert served.queue.pending == 2
        assert (await late.wait()).status == 504
        (tmp_path / "gate").touch()
        assert [await running.text(), await staying.text()] == ["gate", "staying"]
        assert await served.ask(b"after").text() == "after"
        assert served.queue.pending == served.queue.in_flight == 0
    assert {path.name for path in tmp_path.iterdir() if path.is_file()} == {"handler.py", "short", "gate", "staying", "after"}


async def test_of_many_batches_ahead_those_are_left_out_whose_clients_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queue, "AHEAD_SECONDS", 1.0)
    code = """
    import os, pathlib, time
    ran = os.open("ran", os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def handle(data, context):
        for row in data or ():
            os.write(ran, bytes(row["body"]) + b"\\n")
            while bytes(row["body"]) == b"gate" and not pathlib.Path("gate").exists():
                time.sleep(0.005)
        return data and [bytes(row["body"]) for row in data]
    """
    async with serving(write_model(tmp_path, code)) as served:
        assert await served.ask(b"short").text() == "short"
        running = served.ask(b"gate")
        await until(lambda: served.queue.in_flight == 1)
        replies = [Recorder() for _ in range(50)]
        tickets = [served.queue.submit(job(str(number).encode()), reply) for number, reply in enumerate(replies)]
        await until(lambda: any(worker.ahead for worker in served.pool._workers.values()))
        [worker] = served.pool._workers.values()
        assert worker.ahead == queue.AHEAD_BATCHES_MAX
        gone = {0, 7, 31, 40}
        for number in gone:
            served.queue.cancel(tickets[number])
        assert served.queue.pending == 46
        (tmp_path / "gate").touch()
        assert await running.text() == "gate"
        staying = [str(number) for number in range(50) if number not in gone]
        assert [await replies[int(name)].text() for name in staying] == staying
        assert served.queue.pending == served.queue.in_flight == 0
    assert (tmp_path / "ran").read_text().split() == ["short", "gate", *staying]
