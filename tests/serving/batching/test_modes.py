"""Job tickets, sequences, continuous batching and async communication, each with a real worker."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from flambeau.foundation.errors import NotReady, Overloaded
from flambeau.serving.model import Job, Protocol, Sequences
from flambeau.serving.workers.machine import Limits
from tests.serving.workers.kit import Recorder, Served, job, serving, until, write_model

WAITS = """
import pathlib, time

def handle(data, context):
    if data is None:
        return
    for row in data:
        gate = bytes(row["body"]).decode()
        while gate and not pathlib.Path(gate).exists():
            time.sleep(0.005)
    return [len(data)] * len(data)
"""


async def test_the_models_own_client_timeout_is_answered_504(tmp_path: Path) -> None:
    async with serving(write_model(tmp_path, WAITS, client_timeout_seconds=0.1)) as served:
        running, waiting = served.ask(b"gate"), served.ask(b"")
        assert [(await reply.wait()).status for reply in (running, waiting)] == [504, 504]
        (tmp_path / "gate").touch()
        await until(lambda: served.queue.late_answers == 1)


async def test_a_job_ticket_is_had_only_where_a_worker_is_idle(tmp_path: Path) -> None:
    async with serving(write_model(tmp_path, WAITS, use_job_ticket=True, job_queue_size=50, batch_size=2)) as served:
        # One idle worker with two places.
        together = [served.ask(b"gate") for _ in range(2)]
        with pytest.raises(Overloaded, match="no job ticket"):
            served.ask(b"gate")
        await until(lambda: served.queue.in_flight == 2)
        with pytest.raises(Overloaded, match="no job ticket"):
            served.ask(b"gate")
        (tmp_path / "gate").touch()
        assert [await reply.text() for reply in together] == ["2", "2"]
        assert await served.ask(b"").text() == "1"
        os.kill(served.pid, signal.SIGKILL)
        served.pool.scale(0, 0)
        await until(lambda: not served.pool.workers())
        with pytest.raises(NotReady, match="no worker"):
            served.ask(b"")


STATEFUL = """
import os, pathlib, time
sums = {}

def handle(data, context):
    if data is None:
        return
    answers = []
    for index, row in enumerate(data):
        body = bytes(row["body"]).decode()
        while body == "wait" and not pathlib.Path("gate").exists():
            time.sleep(0.005)
        if body == "die":
            os._exit(3)
        id = context.get_sequence_id(index)
        if context.get_request_header(index, "ts_request_sequence_start") == "true":
            context.set_response_header(index, "ts_request_sequence_id", id)
        sums[id] = sums.get(id, 0) + 1
        answers.append({"id": id, "count": sums[id], "together": len(data), "pid": os.getpid()})
    return answers
"""


class Conversation:
    """One client's requests of one sequence."""

    def __init__(self, served: Served, id_: str | None) -> None:
        self._served = served
        self.id = id_

    def ask(self, body: bytes = b"", *, last: bool = False, deadline: float | None = None) -> Recorder:
        headers = [] if self.id is None else [("TS_Request_Sequence_Id", self.id)]
        if last:
            headers.append(("ts_request_sequence_end", "true"))
        recorder = Recorder()
        self._served.queue.submit(replace(job(body), headers=tuple(headers)), recorder, deadline=deadline)
        return recorder


def sequences(**limits: Any) -> Sequences:
    return Sequences(**{"idle_seconds_max": 60.0, "count_max": 10, "queue_size": 10, **limits})


async def told(reply: Recorder) -> dict[str, Any]:
    answer = await reply.wait()
    assert answer.status == 200, answer
    found: dict[str, Any] = json.loads(answer.body)
    return found


async def test_a_sequence_stays_with_its_worker_in_order_and_others_run_beside_it(tmp_path: Path) -> None:
    spec = write_model(tmp_path, STATEFUL, batch_size=2, min_workers=2, max_workers=2, sequences=sequences())
    async with serving(spec) as served:
        talks = [Conversation(served, name) for name in "abc"]
        replies = [[await told(talk.ask()) for _ in range(3)] for talk in talks]
        for talk, own in zip(talks, replies, strict=True):
            assert [each["count"] for each in own] == [1, 2, 3]
            assert {each["id"] for each in own} == {talk.id}
            assert len({each["pid"] for each in own}) == 1
        burst = [talk.ask() for _ in range(4) for talk in talks]
        answers = [await told(reply) for reply in burst]
        assert [each["count"] for each in answers] == [count for count in (4, 5, 6, 7) for _ in talks]
        assert max(each["together"] for each in answers) <= 2


async def test_a_request_without_an_id_opens_a_sequence_whose_id_the_handler_tells(tmp_path: Path) -> None:
    async with serving(write_model(tmp_path, STATEFUL, sequences=sequences())) as served:
        answer = await Conversation(served, None).ask().wait()
        [(name, id_)] = answer.headers
        assert name == "ts_request_sequence_id"
        assert id_.startswith("ts-seq-")
        assert (await told(Conversation(served, id_).ask()))["count"] == 2


async def test_bounds_of_sequences_and_their_end_frees_a_place(tmp_path: Path) -> None:
    spec = write_model(tmp_path, STATEFUL, batch_size=4, sequences=sequences(count_max=1, queue_size=1))
    async with serving(spec) as served:
        first, second = Conversation(served, "a"), Conversation(served, "b")
        running = first.ask(b"wait")
        await until(lambda: served.queue.in_flight == 1)
        waiting = first.ask(last=True)
        with pytest.raises(Overloaded, match="1 requests of sequence a wait already"):
            first.ask()
        with pytest.raises(Overloaded, match="1 sequences are open already"):
            second.ask()
        (tmp_path / "gate").touch()
        assert [(await told(reply))["count"] for reply in (running, waiting)] == [1, 2]
        assert (await told(second.ask()))["count"] == 1


async def test_an_idle_sequence_is_over_by_the_clock(tmp_path: Path) -> None:
    spec = write_model(tmp_path, STATEFUL, sequences=sequences(idle_seconds_max=0.1, count_max=1))
    async with serving(spec) as served:
        await told(Conversation(served, "a").ask())

        def another_may_begin() -> bool:
            try:
                Conversation(served, "b").ask()
            except Overloaded:
                return False
            return True

        await until(another_may_begin)


async def test_what_waits_in_a_dead_workers_sequence_is_told_and_other_sequences_go_on(tmp_path: Path) -> None:
    async with serving(write_model(tmp_path, STATEFUL, batch_size=1, sequences=sequences())) as served:
        first, second = Conversation(served, "a"), Conversation(served, "b")
        dying, waiting, other = first.ask(b"die"), first.ask(), second.ask()
        assert "exit code 3" in await dying.text()
        answer = await waiting.wait()
        assert answer.status == 503
        assert b"begin the sequence again" in answer.body
        assert (await told(other))["count"] == 1


async def test_clients_of_sequences_may_leave_or_be_late(tmp_path: Path) -> None:
    async with serving(write_model(tmp_path, STATEFUL, sequences=sequences())) as served:
        talk = Conversation(served, "a")
        running = talk.ask(b"wait")
        late = talk.ask(deadline=asyncio.get_running_loop().time() + 0.05)
        gone = Recorder()
        served.queue.cancel(served.queue.submit(replace(job(), headers=(("ts_request_sequence_id", "a"),)), gone))
        assert (await late.wait()).status == 504
        (tmp_path / "gate").touch()
        assert (await told(running))["count"] == 1
        assert (await told(talk.ask()))["count"] == 2
        assert not gone.answers


GENERATES = """
cache, steps = {}, []

def handle(data, context):
    if data is None:
        return
    steps.append(len(data))
    values = []
    for index, row in enumerate(data):
        id = context.get_request_id(index)
        if id not in cache:
            cache[id] = [0, int(bytes(row["body"]))]
        elif row:
            raise ValueError("a row came again")
        cache[id][0] += 1
        values.append(f"t{cache[id][0]}")
        if cache[id][1] == 99 and cache[id][0] == 2:
            raise RuntimeError("lost the thread")
    context.stopping_criteria = [
        (lambda value, state=cache[context.get_request_id(index)]: state[0] >= state[1]) for index in range(len(data))
    ]
    return values
"""


def steps(count: int, id_: str) -> Job:
    return job(str(count).encode(), id=id_)


async def test_continuous_batching_streams_each_step_and_new_requests_join(tmp_path: Path) -> None:
    async with serving(write_model(tmp_path, GENERATES, batch_size=2, continuous_batching=True)) as served:
        replies = {}
        for name, count in (("a", 4), ("b", 2), ("c", 3)):
            replies[name] = Recorder()
            served.queue.submit(steps(count, name), replies[name])
        assert [await reply.text() for reply in replies.values()] == ["t4", "t2", "t3"]
        assert [b"".join(reply.parts) for reply in replies.values()] == [b"t1t2t3", b"t1", b"t1t2"]
        assert served.queue.pending == served.queue.in_flight == 0
        assert len(served.pool.workers()) == 1


async def test_continuous_batching_over_v1_gives_the_whole_text_and_refuses_two_instances(tmp_path: Path) -> None:
    code = GENERATES.replace('bytes(row["body"])', 'row["data"]')
    async with serving(write_model(tmp_path, code, batch_size=2, continuous_batching=True)) as served:
        one = served.ask(b'{"instances": [{"data": 3}]}', protocol=Protocol.V1)
        two = served.ask(b'{"instances": [{"data": 3}, {"data": 1}]}', protocol=Protocol.V1)
        assert await one.text() == '{"predictions":["t1t2t3"]}'
        answer = await two.wait()
        assert (answer.status, answer.body) == (400, b"a request to a model with continuousBatching must have one instance, this one has 2")


async def test_continuous_batching_survives_a_raise_and_a_client_that_has_gone(tmp_path: Path) -> None:
    async with serving(write_model(tmp_path, GENERATES, batch_size=2, continuous_batching=True)) as served:
        failing, gone = Recorder(), Recorder()
        ticket = served.queue.submit(steps(1_000_000, "gone"), gone)
        await until(lambda: gone.parts)
        served.queue.cancel(ticket)
        await until(lambda: served.queue.in_flight == 0)
        served.queue.submit(steps(99, "failing"), failing)
        answer = await failing.wait()
        assert answer.status == 503
        assert b"lost the thread" in answer.body
        last = Recorder()
        served.queue.submit(steps(2, "last"), last)
        assert await last.text() == "t2"


TALKS = """
left = {}

def handle(data, context):
    if data is None:
        return
    for index, row in enumerate(data):
        if "body" in row:
            left[context.get_request_id(index)] = int(bytes(row["body"]))
    values = []
    for index in range(len(data)):
        id, talk = context.get_request_id(index), context.get_sequence_id(index)
        left[id] -= 1
        if left[id] <= 0 and talk == "short":
            context.set_response_header(index, context.header_key_sequence_end, talk)
        values.append(f"{talk}{left[id]}")
    context.stopping_criteria = [(lambda value, id=context.get_request_id(index): left[id] <= 0) for index in range(len(data))]
    return values
"""


async def test_sequences_in_continuous_batches_keep_their_order_and_end_with_an_answers_header(tmp_path: Path) -> None:
    spec = write_model(tmp_path, TALKS, batch_size=2, continuous_batching=True, sequences=sequences(count_max=2))
    async with serving(spec) as served:
        replies = []
        for number, (talk, count) in enumerate([("long", 3), ("long", 2), ("short", 2), ("long", 1)]):
            replies.append(Recorder())
            headers = (("ts_request_sequence_id", talk),)
            served.queue.submit(replace(steps(count, str(number)), headers=headers), replies[-1])
        last = [await reply.text() for reply in replies]
        told = [b"".join(reply.parts).decode() + text for reply, text in zip(replies, last, strict=True)]
        assert told == ["long2long1long0", "long1long0", "short1short0", "long0"]
        # The answer's header has ended "short": its place is another's.
        other = Recorder()
        served.queue.submit(replace(steps(1, "other"), headers=(("ts_request_sequence_id", "other"),)), other)
        assert await other.text() == "other0"
        assert served.queue.pending == served.queue.in_flight == 0


ASYNC = """
import asyncio, pathlib, time
from ts.handler_utils.utils import send_intermediate_predict_response

class Handler:
    def initialize(self, context):
        self.running = 0

    async def handle(self, data, context):
        body = bytes(data[0]["body"]).decode()
        self.running += 1
        try:
            if body == "block":
                time.sleep(60)
            if body == "raise":
                raise ValueError("no such prompt")
            if body == "stream":
                for part in ("a", "b"):
                    send_intermediate_predict_response([part], context.request_ids, "ok", 200, context)
                    await asyncio.sleep(0)
            while body.startswith("gate") and not pathlib.Path(body).exists():
                await asyncio.sleep(0.005)
            context.set_response_header(0, "x-id", context.get_request_id(0))
            return [self.running]
        finally:
            self.running -= 1
"""


def asynchronous(tmp_path: Path, **config: Any) -> Any:
    return write_model(tmp_path, ASYNC, async_communication=True, **config)


@pytest.mark.parametrize("batch_size", [1, 4])
async def test_async_requests_run_side_by_side_whatever_the_batch_size(tmp_path: Path, batch_size: int) -> None:
    async with serving(asynchronous(tmp_path, batch_size=batch_size)) as served:
        replies = {str(number): Recorder() for number in range(10)}
        for name, reply in replies.items():
            served.queue.submit(job(b"gate", id=name), reply)
        await until(lambda: served.queue.in_flight == 10)
        assert await served.ask(b"quick").text() == "11"
        (tmp_path / "gate").touch()
        for name, reply in replies.items():
            answer = await reply.wait()
            assert (answer.status, answer.headers) == (200, (("x-id", name),))


async def test_async_requests_stream_fail_and_are_late_alone(tmp_path: Path) -> None:
    async with serving(asynchronous(tmp_path, response_timeout_seconds=0.3)) as served:
        late, failing, streaming = served.ask(b"gate-never"), served.ask(b"raise"), served.ask(b"stream")
        pid = served.pid
        assert b"no such prompt" in (await failing.wait()).body
        await streaming.wait()
        assert streaming.parts == [b"a", b"b"]
        answer = await late.wait()
        assert answer.status == 504
        assert b"gave no answer within 0.3 s (responseTimeout); the request was cancelled" in answer.body
        assert served.pid == pid
        assert await served.ask(b"next").text() == "1"


async def test_an_async_worker_whose_loop_hangs_or_that_is_killed_answers_all_it_had(tmp_path: Path) -> None:
    async with serving(asynchronous(tmp_path), limits=Limits(answer_seconds=0.3, end_seconds=0.1)) as served:
        lost = [served.ask(b"gate-never") for _ in range(3)]
        await until(lambda: served.queue.in_flight == 3)
        lost.append(served.ask(b"block"))
        for reply in lost:
            assert "gave no answer within 0.3 s" in await reply.text()
        await until(lambda: served.pool.ready)
        lost = [served.ask(b"gate-never") for _ in range(3)]
        await until(lambda: served.queue.in_flight == 3)
        os.kill(served.pid, signal.SIGKILL)
        assert [(await reply.wait()).status for reply in lost] == [507] * 3
        await until(lambda: served.pool.ready)
        assert await served.ask(b"next").text() == "1"


async def test_a_shared_worker_drains_what_it_has(tmp_path: Path) -> None:
    async with serving(asynchronous(tmp_path)) as served:
        replies = [served.ask(b"gate") for _ in range(3)]
        await until(lambda: served.queue.in_flight == 3)
        served.pool.scale(0, 0)
        (tmp_path / "gate").touch()
        assert [(await reply.wait()).status for reply in replies] == [200] * 3
        await until(lambda: not served.pool.workers())
