from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from flambeau.foundation.errors import NotReady, Overloaded
from flambeau.serving.model import Method, Protocol
from tests.serving.workers.kit import Recorder, job, now, serving, until, write_model

SIZES = """
import time

def handle(data, context):
    if data is None:
        return
    if context.get_request_header(0, "explain") == "True":
        return ["explained"] * len(data)
    if context.get_request_header(0, "describe") == "True":
        return ["described"]
    for row in data:
        if bytes(row["body"]).startswith(b"sleep"):
            time.sleep(float(bytes(row["body"])[6:]))
    return [len(data)] * len(data)
"""


async def test_an_idle_worker_takes_what_came_together_at_once(tmp_path: Path) -> None:
    # A delay of ten minutes costs nobody anything: a worker is idle.
    async with serving(write_model(tmp_path, SIZES, batch_size=4, max_batch_delay_ms=600_000)) as served:
        replies = [served.ask(b"x") for _ in range(6)]
        assert [await reply.text() for reply in replies] == ["4"] * 4 + ["2"] * 2


async def test_batches_form_while_the_worker_is_busy(tmp_path: Path) -> None:
    async with serving(write_model(tmp_path, SIZES, batch_size=4)) as served:
        first = served.ask(b"sleep 0.05")
        await until(lambda: served.queue.in_flight == 1)
        replies = [served.ask(b"x") for _ in range(3)]
        assert (served.queue.pending, served.queue.in_flight) == (3, 1)
        assert await first.text() == "1"
        assert [await reply.text() for reply in replies] == ["3"] * 3
        assert (served.queue.pending, served.queue.in_flight, served.queue.oldest_age_seconds(now())) == (0, 0, 0.0)


async def test_methods_do_not_mix_in_a_batch(tmp_path: Path) -> None:
    async with serving(write_model(tmp_path, SIZES, batch_size=8)) as served:
        kinds = [Method.PREDICT, Method.PREDICT, Method.EXPLAIN, Method.DESCRIBE, Method.DESCRIBE, Method.PREDICT]
        replies = [served.ask(b"x", method=kind) for kind in kinds]
        assert [await reply.text() for reply in replies] == ["2", "2", "explained", "described", "described", "1"]


async def test_v1_requests_are_batched_with_others_and_one_bad_one_fails_alone(tmp_path: Path) -> None:
    code = 'def handle(data, context): return data and [row["data"] * 2 for row in data]'
    async with serving(write_model(tmp_path, code, batch_size=4)) as served:
        bodies = [b'{"instances": [{"data": 1}, {"data": 2}]}', b'{"instances": [{}]}', b'{"instances": [{"data": 3}]}']
        replies = [served.ask(body, protocol=Protocol.V1) for body in bodies]
        assert [(await reply.wait()).status for reply in replies] == [200, 400, 200]
        assert json.loads(await replies[0].text()) == {"predictions": [2, 4]}
        assert await replies[2].text() == '{"predictions":[6]}'


async def test_a_full_queue_refuses_and_says_when_to_come_again(tmp_path: Path) -> None:
    async with serving(write_model(tmp_path, SIZES, job_queue_size=2)) as served:
        running = served.ask(b"sleep 0.2")
        waiting = [served.ask(b"x") for _ in range(2)]
        with pytest.raises(Overloaded, match="2 requests wait already") as raised:
            served.ask(b"x")
        assert raised.value.retry_after_seconds >= 1.0
        assert [(await reply.wait()).status for reply in (running, *waiting)] == [200] * 3


async def test_a_clients_deadline_is_kept_waiting_or_running_and_late_answers_are_dropped(tmp_path: Path) -> None:
    async with serving(write_model(tmp_path, SIZES)) as served:
        running = served.ask(b"sleep 0.4", deadline=now() + 0.1)
        waiting = served.ask(b"x", deadline=now() + 0.1)
        for reply in (waiting, running):
            answer = await reply.wait()
            assert (answer.status, answer.error_type) == (504, "RequestTimeoutException")
            assert answer.body == b"no answer from model m 1.0 within the request's 0.1 s"
        assert not served.queue.pending
        await until(lambda: served.queue.late_answers == 1)
        assert await served.ask(b"x", deadline=now() + 20).text() == "1"
        assert len(running.answers) == 1


async def test_a_job_whose_client_has_gone_does_not_run(tmp_path: Path) -> None:
    code = """
    import time

    def handle(data, context):
        if data is not None:
            print("ran", bytes(data[0]["body"]).decode())
            time.sleep(0.1)
            return [b"x"]
    """
    async with serving(write_model(tmp_path, code)) as served:
        first, gone, last = Recorder(), Recorder(), Recorder()
        running = served.queue.submit(job(b"first"), first)
        served.queue.cancel(served.queue.submit(job(b"gone"), gone))
        served.queue.submit(job(b"last"), last)
        served.queue.cancel(running)
        served.queue.cancel(running)
        await last.wait()
        assert (first.answers, gone.answers, served.queue.late_answers) == ([], [], 1)
        assert [line for line in served.log if "ran" in line] == ["ran first", "ran last"]


async def test_draining_answers_what_is_here_and_takes_nothing_new(tmp_path: Path) -> None:
    async with serving(write_model(tmp_path, SIZES)) as served:
        replies = [served.ask(b"sleep 0.05") for _ in range(3)]
        draining = asyncio.ensure_future(served.queue.drain(now() + 20))
        await asyncio.sleep(0)
        with pytest.raises(NotReady, match="unloaded"):
            served.ask(b"late")
        await draining
        assert [len(reply.answers) for reply in replies] == [1, 1, 1]


async def test_draining_has_an_end(tmp_path: Path) -> None:
    async with serving(write_model(tmp_path, SIZES)) as served:
        running, waiting = served.ask(b"sleep 60"), served.ask(b"x")
        await served.queue.drain(now() + 0.05)
        answer = await waiting.wait()
        assert (answer.status, answer.error_type) == (503, "ServiceUnavailableException")
        assert not running.answers
        await served.pool.stop(0.0)
        assert (await running.wait()).status == 500


async def test_many_requests_each_get_their_own_answer(tmp_path: Path) -> None:
    code = "def handle(data, context): return data and [bytes(row['body']) for row in data]"
    async with serving(write_model(tmp_path, code, batch_size=7, job_queue_size=1000, min_workers=2, max_workers=2)) as served:
        replies = [served.ask(str(number).encode()) for number in range(500)]
        assert [await reply.text() for reply in replies] == [str(number) for number in range(500)]
