"""One model version's queue: jobs wait here until a worker takes them, each gets exactly one answer.

How to use it::

    pool = WorkerPool(spec, starter)                 # workers.pool; starter: workers.starter.ForkStarter
    queue = ModelQueue(spec, pool)
    pool.start()
    await pool.wait_ready(loop.time() + 120)
    ticket = queue.submit(job, reply, deadline=loop.time() + 60)     # raises Overloaded, NotReady
    queue.cancel(ticket)                             # the client has gone
    await queue.drain(loop.time() + 30)              # nothing new, what is here is answered
    await pool.stop(grace_seconds=30)

``reply.answer(Answer)`` is called exactly once for each accepted job, on the loop, unless the ticket was cancelled; of a streamed
answer ``reply.begin`` once and ``reply.chunks`` any number of times before. There is no task and no future a request. A ``deadline`` is
the client's clock (loop time); the execution limit (responseTimeout) and the load limit (startupTimeout) are the workers' and live in
the pool.

Answers that this module makes itself: 504 the client's deadline passed, 500 or 507 "Worker died." with the cause, 503 no worker can
serve, 503 the queue closed before the job ran. ``kinds.queue_of`` chooses the queue that a model's config asks for.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Sequence
from typing import Protocol

from flambeau.foundation.errors import NotReady, Overloaded
from flambeau.serving.batching.former import form_batch, take_expired
from flambeau.serving.model import Answer, Job, ModelSpec
from flambeau.serving.workers.alarm import Alarm
from flambeau.serving.workers.failure import Failure
from flambeau.serving.workers.pool import WorkerPool
from flambeau.serving.workers.worker import Batch

RETRY_AFTER_SECONDS = 1.0
"""What an overloaded queue asks of clients before its own pace is known."""
RETRY_AFTER_SECONDS_MAX = 30.0
AHEAD_BATCH_SECONDS_MAX = 0.01
"""The only worker has its next batch ahead of time where one takes less."""
AHEAD_SECONDS = 0.005
"""It has more than one where all together take less: then they go, and come, together."""
AHEAD_BATCHES_MAX = 32
_WEIGHT = 0.25
"""Of the last batch in what one takes. Answers that come together are handled one right after the other: only the mean is right."""

UNAVAILABLE = "ServiceUnavailableException"
INTERNAL = "InternalServerException"
TIMED_OUT = "RequestTimeoutException"


class Reply(Protocol):
    """Who waits for a job's answer: a door's exchange."""

    def answer(self, answer: Answer) -> None:
        """Take the answer; called once, must not raise."""
        ...

    def begin(self, head: Answer) -> None:
        """Take status and headers of a streamed answer (its body is empty); called once, before the first ``chunks``."""
        ...

    def chunks(self, parts: Sequence[bytes]) -> None:
        """Take parts of a streamed answer that came together; the rest follows as ``answer``."""
        ...


class Ticket:
    """An accepted job; give it to ``ModelQueue.cancel`` if the client goes."""

    __slots__ = ("deadline", "done", "given_at", "job", "queued_at", "reply")

    def __init__(self, job: Job, reply: Reply, deadline: float | None, queued_at: float) -> None:
        self.job = job
        self.reply = reply
        self.deadline = deadline
        self.queued_at = queued_at
        self.given_at = 0.0
        """When a worker got it, on ``time.monotonic``: uvloop's own clock has whole milliseconds, too coarse for a metric. 0: none has."""
        self.done = False


class ModelQueue:
    """Queue jobs for a pool's workers.

    Args:
        spec: the model; ``spec.config`` says how many jobs may wait and go together.
        pool: whose workers take the jobs; it is attached to this queue.
    """

    def __init__(self, spec: ModelSpec, pool: WorkerPool) -> None:
        self._name = f"{spec.name} {spec.version}"
        self._size = spec.config.job_queue_size
        self._batch_size = 1 if spec.config.is_shared else spec.config.batch_size
        self._client_seconds = spec.config.client_timeout_seconds
        self._pool = pool
        self._loop = asyncio.get_running_loop()
        self._queued: deque[Ticket] = deque()
        self._running: set[QueuedBatch] = set()
        self._ahead = 0
        """Jobs that a worker has ahead of time: for everybody else they wait still."""
        self._offering = False
        self._closed = False
        self._drained: asyncio.Event = asyncio.Event()
        self._alarm = Alarm(self._expire)
        self._batch_seconds = 0.0
        self.late_answers = 0
        """Answers that came after the client's deadline or its going; dropped."""
        self.batches_by_size: dict[int, int] = {}
        """Jobs of a batch -> how many such batches have ended."""
        pool.attach(self)

    @property
    def pending(self) -> int:
        """Jobs that wait for a worker."""
        return len(self._queued) + self._ahead

    @property
    def in_flight(self) -> int:
        """Jobs that workers have now."""
        return sum(len(batch.tickets) for batch in self._running) - self._ahead

    def oldest_age_seconds(self, now: float) -> float:
        """Return how long the oldest waiting job has waited; 0 if none waits."""
        return self.oldest_wait_seconds(now) or 0.0

    def submit(self, job: Job, reply: Reply, *, deadline: float | None = None) -> Ticket:
        """Accept a job.

        Args:
            job: what to do.
            reply: who gets the answer.
            deadline: on the loop's clock; then the reply gets a 504 and a later answer is dropped. None: the model's own
                (clientTimeoutInMills), or the workers' limits alone.

        Raises:
            Overloaded: job_queue_size jobs wait already.
            NotReady: no worker can serve and none will soon, or the queue is closed; the text has the cause.
        """
        if self._closed:
            raise NotReady(f"model {self._name} is being unloaded")
        has_idle = self._pool.has_idle
        if not has_idle:
            self._refuse_what_cannot_run()
        now = self._loop.time()
        if deadline is None and self._client_seconds is not None:
            deadline = now + self._client_seconds
        ticket = Ticket(job, reply, deadline, now)
        self._queued.append(ticket)
        if deadline is not None:
            self._alarm.set_by(deadline)
        if has_idle and len(self._queued) >= self._batch_size:
            self._pool.work_waits()
        elif not self._offering:
            # At the end of this turn: what arrived together goes together. No clock is involved.
            self._offering = True
            self._loop.call_soon(self._offer)
        return ticket

    def cancel(self, ticket: Ticket) -> None:
        """Forget a job whose client has gone: dropped if it waits, its answer dropped if it runs."""
        if ticket.done:
            return
        ticket.done = True
        try:
            self._queued.remove(ticket)
        except ValueError:  # a worker has it already
            self._cancel_ahead(ticket)
        self._maybe_drained()

    async def drain(self, deadline: float) -> None:
        """Accept nothing more and wait until every job is answered; at the deadline those that still wait get a 503.

        Args:
            deadline: on the loop's clock. Jobs that a worker has by then are the pool's to finish or fail.
        """
        self._closed = True
        self._drained.clear()
        if self.pending or self._running:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._drained.wait(), deadline - self._loop.time())
        self._answer_unloaded()
        self._alarm.close()

    # The pool's side (pool.WorkSource).

    is_sticky = False
    """Whether what one idle worker may not take can be another's."""

    def next_batch(self, worker: int) -> QueuedBatch | None:
        """Return a worker's next batch, or None."""
        if not self._queued:
            return None
        now = self._loop.time()
        tickets, expired = form_batch(self._queued, self._batch_size, now)
        for ticket in expired:
            self._time_out(ticket, now)
        if not tickets:
            return None
        return self._given(tickets)

    works_ahead = True
    """Whether the only worker may have a batch ahead of time."""

    def next_ahead(self, have: int) -> list[Batch]:
        """Return whole batches for the only worker, which works on another still; fewer jobs may get company yet.

        Only where batches are so short that our turn between two of them counts. Several go together when half of them are done.
        """
        seconds, batches = self._batch_seconds, list[Batch]()
        if not 0 < seconds < AHEAD_BATCH_SECONDS_MAX or not self.works_ahead:
            return batches
        wanted = min(AHEAD_BATCHES_MAX, max(1, int(AHEAD_SECONDS / seconds)))
        if have > wanted // 2:
            return batches
        while have + len(batches) < wanted and len(self._queued) >= self._batch_size:
            batch = self.next_batch(0)
            if batch is None:
                break
            batch.ahead = len(batch.tickets)
            self._ahead += batch.ahead
            batches.append(batch)
        return batches

    def _cancel_ahead(self, ticket: Ticket) -> None:
        """Let the worker leave out a job that it has ahead of time."""
        for batch in self._running:
            if batch.ahead and ticket in batch.tickets:
                batch.ahead -= 1
                self._ahead -= 1
                self._pool.cancel_ahead(batch, batch.tickets.index(ticket))

    def take_back(self, batch: Batch) -> None:
        """Queue a batch's jobs again, first of all: their worker had died before it saw them."""
        self._queued.extendleft(reversed(self._returned(batch)))
        if self._closed:  # nobody will take them any more
            self._answer_unloaded()

    def oldest_wait_seconds(self, now: float) -> float | None:
        """Return how long the oldest job has waited; None if none waits."""
        return now - self._queued[0].queued_at if self._queued else None

    def has_room(self, worker: int) -> bool:
        """Return whether an idle worker may take any job that comes."""
        return True

    def needs(self, worker: int) -> bool:
        """Return whether an idle worker is still needed."""
        return False

    def worker_gone(self, worker: int) -> None:
        """Learn that a worker has ended."""

    def cannot_be_served(self, failure: Failure) -> None:
        """Answer what waits with the cause."""
        self._answer_waiting(503, f"Model {self._name} has no worker that can serve: {failure}", UNAVAILABLE)

    # Inner workings.

    def _offer(self) -> None:
        self._offering = False
        self._pool.work_waits()

    def _refuse_what_cannot_run(self) -> None:
        why = self._pool.unservable()
        if why is not None:
            raise NotReady(f"Model {self._name} has no worker that can serve: {why}", reason="NoWorker")
        if len(self._queued) + self._ahead >= self._size:
            raise Overloaded(
                f"model {self._name}: {self._size} requests wait already (job_queue_size)",
                hint="try again later, or give the model more workers",
                retry_after_seconds=self._retry_after_seconds(),
            )

    def _retry_after_seconds(self) -> float:
        """Return about how long the queue needs to become empty at its present pace."""
        batches = self._size / self._batch_size / max(1, len(self._running))
        return min(max(batches * self._batch_seconds, RETRY_AFTER_SECONDS), RETRY_AFTER_SECONDS_MAX)

    def _given(self, tickets: list[Ticket]) -> QueuedBatch:
        """Return tickets as a batch that a worker has from now on."""
        batch = QueuedBatch(self, tickets)
        self._running.add(batch)
        return batch

    def _returned(self, batch: Batch) -> list[Ticket]:
        """Return the tickets of a batch that no worker has seen, without those that nobody waits for."""
        assert isinstance(batch, QueuedBatch), "batches come from next_batch"
        self._running.discard(batch)
        self._no_longer_ahead(batch)
        return [ticket for ticket in batch.tickets if not ticket.done]

    def _no_longer_ahead(self, batch: QueuedBatch) -> None:
        self._ahead -= batch.ahead
        batch.ahead = 0

    def _finished(self, batch: QueuedBatch, answers: Sequence[Answer]) -> None:
        """Hand out a batch's answers; the worker has its next batch already."""
        self._running.discard(batch)
        self._no_longer_ahead(batch)
        seconds = time.monotonic() - batch.began
        self._batch_seconds += (seconds - self._batch_seconds) * (_WEIGHT if self._batch_seconds else 1.0)
        size = len(batch.tickets)
        self.batches_by_size[size] = self.batches_by_size.get(size, 0) + 1
        for ticket, answer in zip(batch.tickets, answers, strict=True):
            self._reply(ticket, answer)
        self._maybe_drained()

    def _reply(self, ticket: Ticket, answer: Answer) -> None:
        if ticket.done:
            self.late_answers += 1
            return
        ticket.done = True
        ticket.reply.answer(answer)

    def _time_out(self, ticket: Ticket, now: float) -> None:
        text = f"no answer from model {self._name} within the request's {(ticket.deadline or now) - ticket.queued_at:.3g} s"
        self._reply(ticket, Answer(504, None, text.encode(), (), TIMED_OUT))

    def _expire(self, now: float) -> float | None:
        """Answer the jobs whose client's deadline has passed, waiting or running; return the next deadline."""
        for ticket in take_expired(self._queued, now):
            self._time_out(ticket, now)
        running = [ticket for batch in self._running for ticket in batch.tickets if not ticket.done and ticket.deadline is not None]
        for ticket in running:
            if ticket.deadline is not None and ticket.deadline <= now:
                self._time_out(ticket, now)
                self._cancel_ahead(ticket)
        self._maybe_drained()
        return min((t.deadline for t in (*self._queued, *running) if t.deadline is not None and t.deadline > now), default=None)

    def _answer_unloaded(self) -> None:
        self._answer_waiting(503, f"model {self._name} was unloaded before the request could run", UNAVAILABLE)

    def _answer_waiting(self, status: int, text: str, error_type: str) -> None:
        waiting, self._queued = self._queued, deque()
        for ticket in waiting:
            self._reply(ticket, Answer(status, None, text.encode(), (), error_type))
        self._maybe_drained()

    def _maybe_drained(self) -> None:
        if self._closed and not self._running and not self.pending:
            self._drained.set()


class QueuedBatch:
    """Jobs that one worker has (worker.Batch)."""

    __slots__ = ("_queue", "ahead", "began", "jobs", "tickets")

    def __init__(self, queue: ModelQueue, tickets: list[Ticket]) -> None:
        self._queue = queue
        self.tickets = tickets
        self.jobs: Sequence[Job] = [ticket.job for ticket in tickets]
        self.ahead = 0
        """While its worker works on another batch still: so many of its jobs somebody waits for."""
        self.began = 0.0
        """When its worker began it, on ``time.monotonic``."""

    def started(self) -> None:
        """Count its time from now on."""
        self._queue._no_longer_ahead(self)
        self.began = given_at = time.monotonic()
        for ticket in self.tickets:
            ticket.given_at = given_at

    def answered(self, answers: Sequence[Answer]) -> None:
        """Hand the answers out."""
        self._queue._finished(self, answers)

    def begin(self, index: int, head: Answer) -> None:
        """Hand the head of one streamed answer out."""
        if not self.tickets[index].done:
            self.tickets[index].reply.begin(head)

    def chunks(self, index: int, parts: Sequence[bytes]) -> None:
        """Hand parts of one answer out."""
        if not self.tickets[index].done:
            self.tickets[index].reply.chunks(parts)

    def lost(self, failure: Failure) -> None:
        """Answer every job with how the worker died; none is run again. 507, as TorchServe has it, where memory ran out."""
        text = f"Worker died. {failure}".encode()
        self._queue._finished(self, [Answer(507 if failure.out_of_memory else 500, None, text, (), INTERNAL)] * len(self.tickets))

    @property
    def abandoned(self) -> bool:
        """Whether nobody waits for an answer any more."""
        return all(ticket.done for ticket in self.tickets)
