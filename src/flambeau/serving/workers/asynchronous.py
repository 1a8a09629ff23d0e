"""asyncCommunication: the worker's event loop, in which the handler's coroutines answer requests side by side.

Every request is a batch of its own and begins at once. The handler's ``handle`` is a coroutine function that gets a context of its own
each time. A request from which nothing comes for ``responseTimeout`` is cancelled; the others go on. Chosen at start by ``child``.
"""

from __future__ import annotations

import asyncio
import logging
import time

from flambeau.serving.handlers.service import WORKER_ERROR, Service
from flambeau.serving.model import Answer, Job, ModelSpec
from flambeau.serving.workers.child_logs import FORMATTER
from flambeau.serving.workers.continuous import CLIENT_GONE
from flambeau.serving.workers.execution import Parts, SendPart, answer_of, item_of
from flambeau.serving.workers.link import ChildLink, Frame, Kind
from flambeau.serving.workers.messages import Progress, batches_of, metrics_buffers, numbered_answers_message, numbers_of, parts_message

_log = logging.getLogger(__name__)


class Asynchronous:
    """Serve requests side by side.

    Args:
        link: to the front.
        service: the loaded handler.
        spec: the model.
    """

    def __init__(self, link: ChildLink, service: Service, spec: ModelSpec) -> None:
        self._link = link
        self._service = service
        self._spec = spec
        self._runner = asyncio.Runner()
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._next_number = 0
        self._stop = asyncio.Event()

    def answer(self, job: Job) -> Answer:
        """Answer one request alone, in the loop that will serve; its parts go nowhere."""
        return self._runner.run(self._answer(job, lambda index, head, body: None))

    def serve(self) -> None:
        """Answer requests until the front says stop or is gone."""
        with self._runner as runner:
            runner.run(self._serve())

    async def _serve(self) -> None:
        loop = asyncio.get_running_loop()
        loop.add_reader(self._link.fileno(), self._receive)
        await self._stop.wait()
        loop.remove_reader(self._link.fileno())
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    def _receive(self) -> None:
        """Take the frames that have come; the front writes frames whole, so that the rest of one is on its way."""
        while not self._stop.is_set() and self._link.has_frame():
            self._take(self._link.receive())

    def _take(self, frame: Frame | None) -> None:
        if frame is None or frame.kind is Kind.STOP:
            self._stop.set()
        elif frame.kind is Kind.CANCEL:
            for number in numbers_of(frame.text):
                if number in self._tasks:
                    self._tasks[number].cancel()
        else:
            for [job] in batches_of(frame.text, frame.body):
                number, self._next_number = self._next_number, self._next_number + 1
                self._tasks[number] = asyncio.create_task(self._run(number, job), name=f"request {job.id}")

    async def _run(self, number: int, job: Job) -> None:
        """Answer one request and tell the front."""
        FORMATTER.job.set(job)  # this task has a context of its own, and what it starts inherits it
        try:
            answer = await self._answer(
                job, lambda _, head, part: self._link.send(Kind.CHUNK, *parts_message([Progress(number, head, [part])]))
            )
        except asyncio.CancelledError:
            if self._stop.is_set():
                raise
            answer = CLIENT_GONE
        except Exception:
            # Answers are built from the handler's own objects; one defect must not leave its request without an answer.
            _log.exception("cannot answer request %s", job.id)
            answer = Answer(500, None, b"the request could not be answered; the server's log says why", (), WORKER_ERROR)
        del self._tasks[number]
        try:
            measured = metrics_buffers(self._service.take_updates())
            self._link.send(Kind.ANSWERS, *numbered_answers_message([(number, answer)]), before=measured)
        except ConnectionError:
            self._stop.set()

    async def _answer(self, job: Job, send: SendPart) -> Answer:
        item = item_of(job, self._spec, whole=self._service.takes_tensors)
        if isinstance(item, Answer):
            return item
        seconds = self._spec.config.response_timeout_seconds
        loop, began = asyncio.get_running_loop(), time.perf_counter()
        try:
            async with asyncio.timeout(seconds) as clock:

                def send_and_go_on(index: int, head: Answer | None, body: bytes) -> None:
                    send(index, head, body)
                    clock.reschedule(loop.time() + seconds)

                count = len(item.rows.rows)
                outcomes = await self._service.predict_concurrently(
                    item.rows.rows, [item.headers] * count, [job.id] * count, Parts([item], self._spec, send_and_go_on)
                )
        except TimeoutError:
            text = (
                f"the handler of model {self._spec.name} gave no answer within {seconds:g} s (responseTimeout); the request was cancelled"
            )
            return Answer(504, None, text.encode(), (), WORKER_ERROR, time.perf_counter() - began)
        return answer_of(item, outcomes, self._spec, time.perf_counter() - began)
