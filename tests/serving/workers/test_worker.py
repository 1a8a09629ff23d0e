"""What a worker may say over its link, right or wrong: the process is a thread here that follows a script."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import threading
from collections.abc import Callable
from pathlib import Path

import orjson
import pytest

from flambeau.serving.model import Answer
from flambeau.serving.workers import worker
from flambeau.serving.workers.failure import Exit
from flambeau.serving.workers.link import ChildLink, Kind
from flambeau.serving.workers.machine import Limits
from flambeau.serving.workers.messages import Progress, answers_message, parts_message
from flambeau.serving.workers.starter import OnExit, WorkerProcess
from tests.serving.workers.kit import Recorder, serving, until, write_model

Script = Callable[[ChildLink], None]


class Scripted:
    """Starts a thread instead of a process; it ends with exit code 0, or when it is killed."""

    hidden_variables = ""
    launcher_arguments: tuple[str, ...] | None = None

    def __init__(self, script: Script) -> None:
        self.script = script

    def start(self, link: socket.socket, output: int, on_exit: OnExit) -> WorkerProcess:
        loop = asyncio.get_running_loop()
        process = ScriptedProcess(link, on_exit)

        def run() -> None:
            child = ChildLink(link)
            os.close(output)
            with contextlib.suppress(ConnectionError):
                child.send(Kind.GREETING, orjson.dumps({"pid": 1 << 22}))
                child.receive()
                child.send(Kind.LOADED, b"{}")
                self.script(child)
            loop.call_soon_threadsafe(process.end, Exit(code=0))

        threading.Thread(target=run).start()
        return process


class ScriptedProcess:
    def __init__(self, link: socket.socket, on_exit: OnExit) -> None:
        self.link = link
        self.on_exit: OnExit | None = on_exit

    def signal(self, number: int) -> None:
        if self.on_exit is not None:
            self.link.shutdown(socket.SHUT_RDWR)  # the thread wakes up from its receive() and ends

    def end(self, ended: Exit) -> None:
        if self.on_exit is not None:
            self.on_exit(ended)
        self.on_exit = None
        self.link.close()


async def answer_to(tmp_path: Path, script: Script) -> Recorder:
    async with serving(write_model(tmp_path), Scripted(script), limits=Limits(end_seconds=0.05)) as served:
        reply = served.ask(b"x")
        await reply.wait()
        await until(lambda: len(served.pool.workers()) == 1)
        return reply


async def test_a_streamed_answer_comes_in_parts(tmp_path: Path) -> None:
    def script(child: ChildLink) -> None:
        while (frame := child.receive()) is not None and frame.kind is Kind.BATCHES:
            child.send(Kind.CHUNK, *parts_message([Progress(0, Answer(202, "text/plain", b"", (("a", "b"),), phrase="Soon"), [b"one"])]))
            child.send(Kind.CHUNK, *parts_message([Progress(0, None, [b"", b"two", b"three"])]))
            child.send(Kind.ANSWERS, *answers_message([Answer(200, None, b"end")]))

    reply = await answer_to(tmp_path, script)
    assert reply.heads == [Answer(202, "text/plain", b"", (("a", "b"),), phrase="Soon")]
    assert reply.parts == [b"one", b"", b"two", b"three"]
    assert reply.answers[0].body == b"end"


@pytest.mark.parametrize("text", [b"[[1, [4]]]", b"[]", b"[[0, [3]]]", b"[[0, [4], 200]]", b"{}", b"no json"])
async def test_a_part_that_fits_no_job_costs_the_worker_its_life(tmp_path: Path, text: bytes) -> None:
    def script(child: ChildLink) -> None:
        while (frame := child.receive()) is not None and frame.kind is Kind.BATCHES:
            child.send(Kind.CHUNK, text, [b"part"])

    reply = await answer_to(tmp_path, script)
    assert reply.answers[0].status == 500
    assert reply.parts == []


@pytest.mark.parametrize(
    ("text", "what"),
    [
        (b"[]", "the worker sent 0 answers to a batch of 1"),
        (b"no json", "the worker's answers cannot be read"),
        (b'[[200, null, [], null, 0.0, "", 5]]', "the worker sent 1 answers"),
    ],
)
async def test_answers_that_do_not_fit_cost_the_worker_its_life(tmp_path: Path, text: bytes, what: str) -> None:
    def script(child: ChildLink) -> None:
        child.receive()
        child.send(Kind.ANSWERS, text)
        child.receive()

    reply = await answer_to(tmp_path, script)
    assert reply.answers[0].status == 500
    assert f"Worker died. worker 1 of model m 1.0 was ended while it answered: {what}" in reply.answers[0].body.decode()


async def test_no_descriptor_left_is_a_failure_to_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> None:
        raise OSError(24, "Too many open files")

    async with serving(write_model(tmp_path)) as served:
        with monkeypatch.context() as patch:
            patch.setattr(worker, "socket_pair", refuse)
            served.pool.scale(2, 2)
            await until(lambda: served.pool.failure() is not None)
            failure = served.pool.failure()
        assert failure is not None
        assert failure.message.endswith("of model m 1.0 could not be started: [Errno 24] Too many open files")
        await until(lambda: served.pool.ready)
        assert served.pool.workers_serving == 2
        assert served.pool.deaths >= 1
