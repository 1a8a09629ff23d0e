"""What a worker prints says whose requests it is about, however it answers."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

from flambeau.serving.workers.child_logs import WorkerFormatter
from tests.serving.workers.kit import job, serving, until, write_model

CONTINUOUS = """
import logging

def handle(data, context):
    logging.info("a step")
    context.stopping_criteria = [lambda row: True for _ in data or ()]
    return data and ["done"] * len(data)
"""
ASYNCHRONOUS = """
import asyncio, logging

waiting = asyncio.Event()

async def work():
    logging.info("apart")

class Handler:
    def initialize(self, context):
        pass

    async def handle(self, data, context):
        if data[0]["body"] == b"first":
            await waiting.wait()
        else:
            await asyncio.create_task(work())
            waiting.set()
        logging.info("at the end")
        return ["done"]
"""


def line(formatter: WorkerFormatter) -> str:
    return formatter.format(logging.LogRecord("mine", logging.INFO, "", 0, "text\nmore", None, None))


def test_the_first_line_has_the_ids() -> None:
    formatter = WorkerFormatter()
    assert line(formatter) == "INFO mine: text\nmore"
    formatter.jobs = [job(id=str(number)) for number in range(10)]
    assert line(formatter) == "INFO mine: text request_id=0,1,2,3,4,5,6,7,...\nmore"


async def test_a_step_is_about_every_request_of_it(tmp_path: Path) -> None:
    async with serving(write_model(tmp_path, CONTINUOUS, continuous_batching=True)) as served:
        assert await served.ask(id="mine").text() == "done"
        await until(lambda: "INFO root: a step request_id=mine" in served.log)


async def test_a_coroutine_is_about_its_own_request(tmp_path: Path) -> None:
    async with serving(write_model(tmp_path, ASYNCHRONOUS, async_communication=True)) as served:
        first, second = served.ask(b"first", id="one"), served.ask(b"second", id="two")
        await asyncio.gather(first.wait(), second.wait())
        wanted = {"INFO root: apart request_id=two", "INFO root: at the end request_id=two", "INFO root: at the end request_id=one"}
        await until(lambda: wanted <= set(served.log))
