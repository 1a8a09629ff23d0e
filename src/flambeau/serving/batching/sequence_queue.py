"""sequenceBatching: the requests of one sequence go to one worker, one after the other.

The header ``ts_request_sequence_id`` names the sequence; a request without it opens one, whose id is given to the handler, which tells
the client. A sequence is over when it was idle, or lived, for too long, when its worker dies, and when a request says that it is the
last (``ts_request_sequence_end``) or an answer does.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import replace

from flambeau.foundation.errors import NotReady, Overloaded
from flambeau.serving.batching.former import is_over
from flambeau.serving.batching.queue import TIMED_OUT, UNAVAILABLE, ModelQueue, QueuedBatch, Reply, Ticket
from flambeau.serving.batching.sequences import Refused, SequenceTable
from flambeau.serving.model import Answer, Job, Method, ModelSpec
from flambeau.serving.workers.pool import WorkerPool
from flambeau.serving.workers.worker import Batch

NEW_ID_PREFIX = "ts-seq-"
"""Of ids that the server makes, as TorchServe's."""


class SequenceQueue(ModelQueue):
    """Queue jobs by their sequences; descriptions belong to none and run as in every queue."""

    is_sticky = True
    works_ahead = False

    def __init__(self, spec: ModelSpec, pool: WorkerPool) -> None:
        limits = spec.config.sequences
        assert limits is not None, "kinds.queue_of looked"
        super().__init__(spec, pool)
        self._limits = limits
        self._headers = spec.config.sequence_headers
        self._per_worker = spec.config.batch_size
        self._table: SequenceTable[Ticket] = SequenceTable(limits, self._per_worker)
        self._ids: dict[Ticket, str] = {}
        """Of the accepted jobs that are not answered yet."""

    @property
    def pending(self) -> int:
        """Jobs that wait for a worker."""
        return len(self._queued) + self._table.waiting

    def submit(self, job: Job, reply: Reply, *, deadline: float | None = None) -> Ticket:
        """Accept a job.

        Raises:
            Overloaded: as many sequences are open, or as many jobs of this one wait, as may.
            NotReady: no worker can serve and none will soon, or the queue is closed; the text has the cause.
        """
        if job.method is Method.DESCRIBE:
            return super().submit(job, reply, deadline=deadline)
        if self._closed:
            raise NotReady(f"model {self._name} is being unloaded")
        if not self._pool.has_idle:
            self._refuse_what_cannot_run()
        now = self._loop.time()
        if deadline is None and self._client_seconds is not None:
            deadline = now + self._client_seconds
        id_ = _header(job, self._headers.id)
        if id_ is None:
            id_ = f"{NEW_ID_PREFIX}{uuid.uuid4()}"
            job = replace(job, headers=(*job.headers, (self._headers.id, id_), (self._headers.start, "true")), head_text=b"")
        ticket = Ticket(job, reply, deadline, now)
        try:
            self._table.add(id_, ticket, now)
        except Refused as refused:
            raise Overloaded(
                f"model {self._name}: {refused}",
                hint="try again later, or raise that bound in model-config.yaml",
                retry_after_seconds=self._retry_after_seconds(),
            ) from None
        self._ids[ticket] = id_
        if deadline is not None:
            self._alarm.set_by(deadline)
        if self._limits.total_seconds_max is not None:
            self._alarm.set_by(now + self._limits.total_seconds_max)
        self._pool.work_waits()
        return ticket

    def cancel(self, ticket: Ticket) -> None:
        """Forget a job whose client has gone; its sequence goes on."""
        if not ticket.done and ticket in self._ids:
            self._table.remove(self._ids[ticket], ticket)
            if not any(ticket in batch.tickets for batch in self._running):
                del self._ids[ticket]
        super().cancel(ticket)

    # The pool's side.

    def next_batch(self, worker: int) -> QueuedBatch | None:
        """Return a worker's next batch: one job of each of its sequences that has any."""
        now = self._loop.time()
        if self._queued:
            described = super().next_batch(worker)
            if described is not None:
                return described
        tickets: list[Ticket] = []
        while len(tickets) < self._batch_size and (taken := self._table.take(worker, self._batch_size - len(tickets))):
            for id_, ticket in taken:
                if is_over(ticket, now):
                    del self._ids[ticket]
                    self._table.answered(id_, now, ends=False)
                    self._time_out(ticket, now)
                else:
                    tickets.append(ticket)
        return self._given(tickets) if tickets else None

    def take_back(self, batch: Batch) -> None:
        """Let a batch's jobs wait again, each first of its sequence."""
        assert isinstance(batch, QueuedBatch), "batches come from next_batch"
        if batch.tickets[0] not in self._ids:
            super().take_back(batch)
            return
        for ticket in self._returned(batch):
            self._table.put_back(self._ids[ticket], ticket)

    def oldest_wait_seconds(self, now: float) -> float | None:
        """Return how long the oldest job has waited that another worker could help."""
        waits = [now - ticket.queued_at for ticket in (*self._queued, *self._table.homeless())]
        return max(waits, default=None)

    def has_room(self, worker: int) -> bool:
        """Return whether a worker may take another sequence."""
        return self._table.held_by(worker) < self._per_worker

    def needs(self, worker: int) -> bool:
        """Return whether a worker has sequences, whose state would be lost with it."""
        return self._table.held_by(worker) > 0

    def worker_gone(self, worker: int) -> None:
        """Close the sequences of a worker that has ended, and tell what waited in them."""
        text = f"the worker of model {self._name} that had this sequence has ended; begin the sequence again"
        self._answer_all(self._table.lose(worker), Answer(503, None, text.encode(), (), UNAVAILABLE))

    # Inner workings.

    def _answer_waiting(self, status: int, text: str, error_type: str) -> None:
        self._answer_all(self._table.close_all(), Answer(status, None, text.encode(), (), error_type))
        super()._answer_waiting(status, text, error_type)

    def _finished(self, batch: QueuedBatch, answers: Sequence[Answer]) -> None:
        now = self._loop.time()
        for ticket, answer in zip(batch.tickets, answers, strict=True):
            id_ = self._ids.pop(ticket, None)
            if id_ is not None:
                self._answer_over(self._table.answered(id_, now, ends=self._ends(ticket.job, answer, id_)))
        super()._finished(batch, answers)
        self._alarm.set_by(now + self._limits.idle_seconds_max)
        if self._table.waiting:
            self._pool.work_waits()

    def _ends(self, job: Job, answer: Answer, id_: str) -> bool:
        """Return whether a sequence is over with this answer: the request or the answer says so."""
        if (_header(job, self._headers.end) or "").lower() in ("true", "1"):
            return True
        ended = next((value for name, value in answer.headers if name.lower() == self._headers.end.lower()), "")
        return id_ in ended.split(";")

    def _expire(self, now: float) -> float | None:
        self._answer_over(self._table.expire(now))
        for ticket in [ticket for ticket in self._table.items() if is_over(ticket, now)]:
            self._table.remove(self._ids.pop(ticket), ticket)
            self._time_out(ticket, now)
        times = (super()._expire(now), self._table.next_expiry(), *(ticket.deadline for ticket in self._table.items()))
        return min((when for when in times if when is not None and when > now), default=None)

    def _answer_over(self, tickets: list[Ticket]) -> None:
        text = f"the sequence of model {self._name} that this request belongs to is over (sequenceTimeoutMSec, or its last request came)"
        self._answer_all(tickets, Answer(504, None, text.encode(), (), TIMED_OUT))

    def _answer_all(self, tickets: list[Ticket], answer: Answer) -> None:
        for ticket in tickets:
            self._ids.pop(ticket, None)
            self._reply(ticket, answer)
        if tickets:
            self._maybe_drained()


def _header(job: Job, name: str) -> str | None:
    folded = name.lower()
    return next((value for key, value in job.headers if key.lower() == folded and value), None)
