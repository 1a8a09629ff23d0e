"""continuousBatching: the worker's loop that calls the handler again and again with every request that is not done yet.

A request that comes joins at the next step. At its first step the handler gets its row, at later ones an empty row: it keeps what it
needs by request id. ``context.stopping_criteria`` says after each step, row by row, which requests are done; the others' values go to
their clients as parts of a stream. Chosen at start by ``child``.
"""

from __future__ import annotations

import logging
import time
from dataclasses import replace

from flambeau.foundation.errors import FlambeauError
from flambeau.serving.handlers.diagnosis import cause_of
from flambeau.serving.handlers.service import WORKER_ERROR, Outcome, Service
from flambeau.serving.model import Answer, Job, Method, ModelSpec, Protocol
from flambeau.serving.workers.child_logs import FORMATTER
from flambeau.serving.workers.execution import BAD_REQUEST, Item, Parts, answer_of, item_of, run_batch
from flambeau.serving.workers.link import ChildLink, Kind
from flambeau.serving.workers.messages import Progress, batches_of, metrics_buffers, numbered_answers_message, numbers_of, parts_message

CLIENT_GONE = Answer(499, None, b"the client has gone")
"""Frees the place of a job for which nobody waits; nobody reads it."""

_log = logging.getLogger(__name__)


class _Running:
    """A request that is not done yet."""

    def __init__(self, item: Item, parts: Parts | None) -> None:
        self.item = item
        self.parts = parts
        """Where its values go step by step; None: they are kept, as its wire form is no stream."""
        self.values: list[object] = []
        self.steps = 0
        self.seconds = 0.0

    def row(self) -> object:
        """Return what the handler gets for it at this step."""
        return self.item.rows.rows[0] if self.steps == 0 else {}

    def whole(self, last: object) -> object:
        """Return its whole answer's value: texts of all steps together, otherwise what the last step gave."""
        values = [*self.values, last]
        return "".join(map(str, values)) if all(isinstance(value, str) for value in values) else last


class Continuous:
    """Serve requests step by step.

    Args:
        link: to the front.
        service: the loaded handler.
        spec: the model.
    """

    def __init__(self, link: ChildLink, service: Service, spec: ModelSpec) -> None:
        self._link = link
        self._service = service
        self._spec = spec
        self._running: dict[int, _Running] = {}
        self._next_number = 0
        self._done: list[tuple[int, Answer]] = []
        self._progress: list[Progress] = []
        """What a step gave for requests that are not done."""

    def answer(self, job: Job) -> Answer:
        """Answer one request alone, to its end; its parts go nowhere."""
        item = self._admitted(job)
        if isinstance(item, Answer):
            return item
        self._running[-1] = _Running(item, None)
        while self._running:
            self._step()
        [(_, answer)] = self._done
        self._done.clear()
        return answer

    def serve(self) -> None:
        """Answer requests until the front says stop or is gone."""
        while self._receive():
            if self._running:
                self._step()
            if self._done:
                measured = metrics_buffers(self._service.take_updates())
                self._link.send(Kind.ANSWERS, *numbered_answers_message(self._done), before=measured)
                self._done.clear()

    def _receive(self) -> bool:
        """Take what has come, and wait for it only if there is nothing to do; False: leave."""
        while (not self._running and not self._done) or self._link.has_frame():
            frame = self._link.receive()
            if frame is None or frame.kind is Kind.STOP:
                return False
            if frame.kind is Kind.CANCEL:
                for number in numbers_of(frame.text):
                    if self._running.pop(number, None) is not None:
                        self._done.append((number, CLIENT_GONE))
                continue
            for [job] in batches_of(frame.text, frame.body):
                self._take(self._next_number, job)
                self._next_number += 1
        return True

    def _take(self, number: int, job: Job) -> None:
        item = self._admitted(job)
        if isinstance(item, Answer):
            self._done.append((number, item))
            return
        parts = None
        if item.protocol is Protocol.TORCHSERVE:
            parts = Parts([item], self._spec, lambda _, head, part: self._progress.append(Progress(number, head, [part])))
        self._running[number] = _Running(item, parts)

    def _admitted(self, job: Job) -> Item | Answer:
        """Return a request that can run step by step, or the answer to another."""
        if job.method is not Method.PREDICT:
            return run_batch(self._service, self._spec, [job], time.perf_counter)[0]
        item = item_of(job, self._spec, whole=self._service.takes_tensors)
        if isinstance(item, Item) and len(item.rows.rows) != 1:
            text = f"a request to a model with continuousBatching must have one instance, this one has {len(item.rows.rows)}"
            return Answer(400, None, text.encode(), (), BAD_REQUEST)
        return item

    def _step(self) -> None:
        """Call the handler once with every running request."""
        running = list(self._running.items())
        context = self._service.context
        context.stopping_criteria = None
        began = time.perf_counter()
        FORMATTER.jobs = [each.item.job for _, each in running]
        outcomes = self._service.predict(
            [each.row() for _, each in running], [each.item.headers for _, each in running], [each.item.job.id for _, each in running]
        )
        FORMATTER.jobs = ()
        seconds = time.perf_counter() - began
        for index, ((number, each), outcome) in enumerate(zip(running, outcomes, strict=True)):
            each.steps += 1
            each.seconds += seconds
            answer = self._done_with(index, each, outcome)
            if answer is not None:
                del self._running[number]
                self._done.append((number, answer))
        if self._progress:
            self._link.send(Kind.CHUNK, *parts_message(self._progress))
            self._progress.clear()

    def _done_with(self, index: int, each: _Running, outcome: Outcome) -> Answer | None:
        """Hand on what a step gave for one request; return its answer if it is done."""
        if outcome.error is None:
            try:
                if self._is_not_done(index, outcome.value):
                    if each.parts is not None:
                        each.parts(0, outcome)
                    else:
                        each.values.append(outcome.value)
                    return None
            except FlambeauError as error:
                return Answer(500, None, str(error).encode(), (), WORKER_ERROR)
            except ConnectionError:
                raise
            except Exception as error:  # a stopping criterion is the handler's own code
                _log.exception("a stopping criterion of model %s failed", self._spec.name)
                return Answer(503, None, f"Prediction failed: a stopping criterion: {cause_of(error)}".encode(), (), WORKER_ERROR)
            if each.values:
                outcome = replace(outcome, value=each.whole(outcome.value))
        return answer_of(each.item, [outcome], self._spec, each.seconds)

    def _is_not_done(self, index: int, value: object) -> bool:
        criteria = self._service.context.stopping_criteria
        return criteria is not None and index < len(criteria) and criteria[index](value) is False
