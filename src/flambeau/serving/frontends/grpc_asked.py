"""One job that a gRPC call waits for: the Reply of its model's queue, awaited by the call.

The queue answers from its own callbacks and never waits; what a streaming handler sends gathers here until the call has sent it on,
bounded. A call that ends early (cancelled, past its deadline, its client gone) takes its job out of the queue.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import replace
from http import HTTPStatus

from flambeau.foundation.errors import FlambeauError, TooLarge
from flambeau.serving.batching.queue import Ticket
from flambeau.serving.dataplane import DataPlane
from flambeau.serving.frontends.grpc_service import Refused
from flambeau.serving.metrics.server import ServerMetrics, Tally
from flambeau.serving.model import Answer, Job

PARTS_BYTES_WAITING_MAX = 8_388_608
"""Of a streamed answer, so much may wait for a client that reads slower than the model writes; then its call is ended."""


class Models:
    """Ask models on behalf of calls.

    Args:
        dataplane: where models are.
        metrics: counts what is asked of them.
        response_bytes_max: a longer whole answer is refused; parts of a stream are bounded each by the worker.
    """

    def __init__(self, dataplane: DataPlane, metrics: ServerMetrics, *, response_bytes_max: int) -> None:
        self.dataplane = dataplane
        self.response_bytes_max = response_bytes_max
        self._metrics = metrics

    def ask(self, name: str, version: str | None, job: Job, deadline: float | None) -> Asked:
        """Queue a job.

        Args:
            name: the model's.
            version: None is the default version.
            job: what to do.
            deadline: the call's, on the loop's clock.

        Raises:
            NotFound: there is no such model.
            NotReady: it cannot serve; the text says why.
            Overloaded: its queue is full.
        """
        model = self.dataplane.model(name, version)
        tally = self._metrics.tally(model.name, model.version, version)
        asked = Asked(job.id, tally, self.response_bytes_max)
        tally.enter()
        try:
            asked.ticket = ticket = model.queue.submit(job, asked, deadline=deadline)
        except FlambeauError:
            tally.leave()
            raise
        asked.let_go = lambda: model.queue.cancel(ticket)
        return asked


class Asked:
    """A job's parts and its answer, in their order.

    Args:
        id: the request's.
        tally: the model's, counted when it is over.
        whole_bytes_max: of a streamed answer that the client wants whole.
    """

    def __init__(self, id: str, tally: Tally, whole_bytes_max: int) -> None:
        self._id = id
        self._tally = tally
        self.ticket: Ticket | None = None
        """Its place in the queue; None while it is being queued."""
        self._whole_bytes_max = whole_bytes_max
        self._submitted = time.monotonic()
        self._parts: list[bytes] = []
        self._waiting_bytes = 0
        self._answer: Answer | None = None
        self._woken = asyncio.Event()
        self._over = False
        self.let_go: Callable[[], None] = lambda: None
        """Takes the job out of its queue."""

    def answer(self, answer: Answer) -> None:
        """Take the answer; the queue calls this once."""
        given_at = self.ticket.given_at if self.ticket is not None else 0.0
        self._tally.answered(time.monotonic(), self._submitted, given_at, answer.handler_seconds, self._id)
        self._answer = answer
        self._woken.set()

    def begin(self, head: Answer) -> None:
        """Take the head of a streamed answer: gRPC has no place for it."""

    def chunks(self, parts: Sequence[bytes]) -> None:
        """Take parts of a streamed answer; each is a message of its own."""
        self._waiting_bytes += sum(map(len, parts))
        if self._waiting_bytes > PARTS_BYTES_WAITING_MAX:
            self._parts.clear()
            self.let_go()
            text = f"the client did not take the answer's parts as fast as the model made them: over {PARTS_BYTES_WAITING_MAX} bytes waited"
            self.answer(Answer(HTTPStatus.TOO_MANY_REQUESTS, None, text.encode(), (), "ServiceUnavailableException"))
            return
        self._parts += parts
        self._woken.set()

    async def parts(self) -> AsyncGenerator[bytes, None]:
        """Yield what a streaming handler sends, then its last part; a handler that doesn't stream has one part.

        Raises:
            Refused: the request failed.

        Cancel: the job is taken out of its queue, or its answer dropped.
        """
        streamed = False
        try:
            while True:
                await self._woken.wait()
                self._woken.clear()
                parts, self._parts, self._waiting_bytes = self._parts, [], 0
                for part in parts:
                    streamed = True
                    yield part
                answer = self._answer
                if answer is not None and not self._parts:
                    if answer.error_type is not None:
                        raise Refused.answered(answer)
                    if answer.body or not streamed:
                        yield answer.body
                    return
        finally:
            self.end()

    async def whole(self) -> Answer:
        """Return the answer; the parts of a streamed one are put together.

        Raises:
            Refused: the request failed, or the whole is over its bound.

        Cancel: as for ``parts``.
        """
        body = b""
        async with aclosing(self.parts()) as parts:
            async for part in parts:
                body = body + part if body else part
                if len(body) > self._whole_bytes_max:
                    raise TooLarge(f"the answer is over max_response_size, {self._whole_bytes_max} bytes")
        assert self._answer is not None, "the parts end with it"
        return replace(self._answer, body=body)

    def end(self) -> None:
        """Be over: what is not answered yet is nobody's any more. Calling it again does nothing."""
        if not self._over:
            self._over = True
            self._tally.leave()
            self.let_go()
