"""A worker that takes requests while it works on others: continuousBatching and asyncCommunication.

Each batch that the queue gives it has one job. Jobs are numbered on both ends of the link by their order, so no number travels towards
the worker. ``continuous`` and ``concurrent`` are the other end.
"""

from __future__ import annotations

from collections.abc import Callable

from flambeau.serving.model import ModelSpec
from flambeau.serving.workers import machine
from flambeau.serving.workers.link import BrokenFrame, Frame, Kind
from flambeau.serving.workers.machine import Action, Event, State
from flambeau.serving.workers.messages import batches_message, numbered_answers_of, numbers_text, parts_of
from flambeau.serving.workers.worker import Batch, Overseer, Worker

_TAKES_WORK = (State.IDLE, State.BUSY)


class SharedWorker(Worker):
    """A worker with several jobs in flight; for the machine it is busy as long as it has any.

    Args are those of ``Worker``. A part or an answer from it counts as a sign of life: the response timeout is between two of them.
    """

    def __init__(self, number: int, spec: ModelSpec, limits: machine.Limits, overseer: Overseer, on_line: Callable[[str], None]) -> None:
        super().__init__(number, spec, limits, overseer, on_line)
        config = spec.config
        self._places = config.batch_size if config.continuous_batching else config.job_queue_size
        self._flying: dict[int, Batch] = {}
        self._next_number = 0
        self._listed = False
        """Whether the pool knows that it can take work."""

    def dispatch(self, batch: Batch) -> bool:
        """Give it a job; it must have a place.

        Returns:
            False if its process is gone and nothing of the job reached it: another worker may have it.
        """
        assert self._link is not None, "a worker that takes work has a link"
        self._listed = False
        batch.started()
        if not self._link.send(Kind.BATCHES, *batches_message([batch.jobs])):
            self._link.close()
            self._link_lost(None)
            return False
        self._flying[self._next_number] = batch
        self._next_number += 1
        if self.state is State.IDLE:
            self._step(Event.DISPATCHED)
        if len(self._flying) < self._places:
            self._listed = True
            self._overseer.stay_available(self)
        return True

    # What happens to it.

    def _frame(self, frame: Frame) -> None:
        if frame.kind not in (Kind.ANSWERS, Kind.CHUNK):
            super()._frame(frame)
        elif self.state in (State.BUSY, State.DRAINING):
            try:
                if frame.kind is Kind.ANSWERS:
                    self._answered(frame)
                else:
                    self._progressed(frame)
            except BrokenFrame as error:
                self._link_lost(error.message)

    def _answered(self, frame: Frame) -> None:
        """Take answers to some of its jobs; new jobs are on their way to the worker before they are handed on."""
        answers = numbered_answers_of(frame.text, frame.body)
        done = [(self._flown(number), answer) for number, answer in answers]
        for number, _ in answers:
            del self._flying[number]
        self.proven = True
        self._step(Event.PROGRESSED if self._flying else Event.ANSWERED)
        if self._flying:
            self._offer()
        for batch, answer in done:
            batch.answered([answer])

    def _progressed(self, frame: Frame) -> None:
        """Hand on parts of answers, or tell the worker that nobody waits for them."""
        progress = [(self._flown(each.index), each) for each in parts_of(frame.text, frame.body)]
        self._step(Event.PROGRESSED)
        abandoned = [each.index for batch, each in progress if batch.abandoned]
        if abandoned:
            assert self._link is not None
            self._link.send(Kind.CANCEL, numbers_text(abandoned))
        for batch, each in progress:
            if each.index in abandoned:
                continue
            if each.head is not None:
                batch.begin(0, each.head)
            batch.chunks(0, each.parts)

    def _flown(self, number: int) -> Batch:
        try:
            return self._flying[number]
        except KeyError:
            raise BrokenFrame(f"the worker answered job {number}, which it does not have") from None

    # What is done about it.

    def _step(self, event: Event) -> None:
        super()._step(event)
        if self._listed and self.state not in _TAKES_WORK:
            self._listed = False
            self._overseer.withdraw(self)

    def _do(self, action: Action) -> None:
        if action is Action.TAKE_WORK:
            self._offer()
        elif action is Action.WITHDRAW:
            self._listed = False
            super()._do(action)
        else:
            super()._do(action)

    def _offer(self) -> None:
        """Tell the pool that there is a place."""
        if not self._listed and self.state in _TAKES_WORK:
            self._listed = True
            self._overseer.take_work(self)
            self._overseer.work_waits()  # there may be more than one place

    def _fail_batch(self) -> None:
        if self._listed:
            self._listed = False
            self._overseer.withdraw(self)
        flying, self._flying = self._flying, {}
        for batch in flying.values():
            assert self.failure is not None, "a worker fails its jobs for a reason"
            batch.lost(self.failure)

    def _has_work(self) -> bool:
        return bool(self._flying)
