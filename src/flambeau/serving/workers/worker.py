"""The front's hands for one worker: its link, its process, its output, moved by the machine."""

from __future__ import annotations

import asyncio
import os
import signal
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Protocol

import orjson

from flambeau.serving.model import Answer, Job, MetricUpdate, ModelSpec, Signature
from flambeau.serving.workers import machine
from flambeau.serving.workers.failure import Exit, Failure, hint_of, traceback_in
from flambeau.serving.workers.link import BrokenFrame, Frame, FrontLink, Kind, socket_pair
from flambeau.serving.workers.machine import Action, Event, State
from flambeau.serving.workers.memory import out_of_memory_kills
from flambeau.serving.workers.messages import (
    LoadFailure,
    answers_of,
    batches_message,
    load_failure_of,
    metrics_of,
    numbers_text,
    parts_of,
    signature_of,
    spec_text,
)
from flambeau.serving.workers.output import OutputReader
from flambeau.serving.workers.starter import Starter, WorkerProcess

_EVENTS = {
    Kind.GREETING: Event.GREETED,
    Kind.LOADED: Event.LOADED,
    Kind.LOAD_FAILED: Event.LOAD_FAILED,
    Kind.ANSWERS: Event.ANSWERED,
}
_ANSWER_OVERHEAD_BYTES = 64 << 10
"""Of one answer besides its body: an error's text, which response_bytes_max does not bound."""


class Batch(Protocol):
    """Jobs that are given to a worker together, and who waits for them."""

    jobs: Sequence[Job]

    def answered(self, answers: Sequence[Answer]) -> None:
        """Take one answer for each job."""
        ...

    def begin(self, index: int, head: Answer) -> None:
        """Take status and headers of a job's streamed answer, before its first part."""
        ...

    def chunks(self, index: int, parts: Sequence[bytes]) -> None:
        """Take parts of a job's streamed answer."""
        ...

    def lost(self, failure: Failure) -> None:
        """Learn that the worker died with the batch; nothing of it is run again."""
        ...

    def started(self) -> None:
        """Learn that the worker works on it from now on: it gets it now, or had it ahead of time."""
        ...

    @property
    def abandoned(self) -> bool:
        """Whether nobody waits for an answer any more."""
        ...


class Overseer(Protocol):
    """Who owns workers: the pool."""

    def loaded(self, worker: Worker) -> None:
        """Note that a worker has loaded its model."""
        ...

    def take_work(self, worker: Worker) -> None:
        """Give an idle worker its next batch, or note it as idle."""
        ...

    def give_ahead(self, worker: Worker) -> None:
        """Give a busy worker the batches after this one that it may have ahead of time."""
        ...

    def take_back(self, batch: Batch) -> None:
        """Queue a batch's jobs again: the worker has died and never began it."""
        ...

    def stay_available(self, worker: Worker) -> None:
        """Note that a worker that has work can take more."""
        ...

    def work_waits(self) -> None:
        """Give waiting jobs to workers that can take them."""
        ...

    def withdraw(self, worker: Worker) -> None:
        """Give an idle worker nothing more."""
        ...

    def measured(self, updates: Sequence[MetricUpdate]) -> None:
        """Take what a handler measured."""
        ...

    def bury(self, worker: Worker) -> None:
        """Note that a worker is dead; ``worker.failure`` says why, None where it was let go."""
        ...

    def watch(self, deadline: float) -> None:
        """Have ``worker.check`` called soon after a time of the loop's clock."""
        ...


class Worker:
    """One worker process, from being asked for to being buried. Its state moves only through ``_step``.

    Args:
        number: its number in the pool, never used again.
        spec: its model.
        limits: of its states.
        overseer: told what happens to it.
        on_line: called with each line it prints.
    """

    def __init__(self, number: int, spec: ModelSpec, limits: machine.Limits, overseer: Overseer, on_line: Callable[[str], None]) -> None:
        self.number = number
        self.pid: int | None = None
        self.exit: Exit | None = None
        self.failure: Failure | None = None
        self.proven = False
        """Whether it has answered a batch."""
        self._spec = spec
        self._limits = limits
        self._overseer = overseer
        self._on_line = on_line
        self._loop = asyncio.get_running_loop()
        self.asked_at = self._loop.time()
        """When it was asked for, on the loop's clock."""
        self._life = machine.begin(self.asked_at, limits)
        self._loaded_at: float | None = None
        self._retired = False
        self._process: WorkerProcess | None = None
        self._link: FrontLink | None = None
        self._output: OutputReader | None = None
        self._batch: Batch | None = None
        self._ahead: deque[Batch] = deque()
        """The batches after this one, in the worker's socket already: it need not wait for our turn."""
        self._given = 0
        """Batches that were sent to it: they are numbered from 0."""
        self._answered_late = 0
        """Batches that it answered after its batch had been failed: it may have begun as many of those ahead."""
        self._load_failure: LoadFailure | None = None
        self.signature = Signature()
        """What the handler says of the model, once it has loaded."""
        self._broken: str | None = None
        self._kills_before: int | None = None

    @property
    def state(self) -> State:
        """Where it is in its life."""
        return self._life.state

    @property
    def since(self) -> float:
        """When this state began, on the loop's clock."""
        return self._life.since

    @property
    def deadline(self) -> float | None:
        """When this state is over its time."""
        return self._life.deadline

    @property
    def loaded_at(self) -> float | None:
        """When its model was loaded, on the loop's clock; None before."""
        return self._loaded_at

    @property
    def retired(self) -> bool:
        """Whether it is wanted no more."""
        return self._retired

    @property
    def device(self) -> str:
        """What it runs on."""
        return self._spec.config.device

    def take_devices(self, numbers: Sequence[int]) -> None:
        """Run on these GPUs; called before ``start``. One is told by its number, several become all that the worker sees."""
        config = self._spec.config
        if config.parallelism is not None:
            config = replace(config, device="cuda:0", visible_devices=tuple(numbers))
        elif numbers:
            config = replace(config, device=f"cuda:{numbers[0]}")
        self._spec = replace(self._spec, config=config)

    async def start(self, starter: Starter) -> None:
        """Ask for the process and open the link to it; what cannot be had ends it like a process that cannot be started."""
        try:
            output, printed = os.pipe()
            try:
                ours, theirs = socket_pair()
            except OSError:
                os.close(output)
                os.close(printed)
                raise
        except OSError as error:  # no descriptors left
            self._exited(Exit(note=f"could not be started: {error}"))
            return
        self._kills_before = out_of_memory_kills()
        bound = self._spec.config.batch_size * (self._spec.config.response_bytes_max + _ANSWER_OVERHEAD_BYTES)
        self._link = FrontLink(ours, bound, self._frame, self._link_lost)
        self._output = OutputReader(output, self._on_line)
        # The link is opened first: from then on every way to end is an event.
        await self._link.open()
        self._process = starter.start(theirs, printed, self._exited)
        self._watch()
        if self._retired:
            self._process.signal(signal.SIGTERM)

    def dispatch(self, batch: Batch) -> bool:
        """Give it a batch; it must be idle.

        Returns:
            False if its process is gone and nothing of the batch reached it: another worker may have it.
        """
        assert self._link is not None, "an idle worker has a link"
        batch.started()
        if not self._link.send(Kind.BATCHES, *batches_message([batch.jobs])):
            self._link.close()
            self._link_lost(None)
            return False
        self._batch = batch
        self._given += 1
        self._step(Event.DISPATCHED)
        return True

    @property
    def takes_ahead(self) -> bool:
        """Whether it is busy and is to go on."""
        return self._life.state is State.BUSY

    @property
    def ahead(self) -> int:
        """Batches that it has ahead of time, besides the one it works on."""
        return len(self._ahead)

    def dispatch_ahead(self, batches: Sequence[Batch]) -> bool:
        """Give it batches after those it has; it must be busy.

        Returns:
            False if its process is gone and nothing of them reached it.
        """
        assert self._link is not None, "a busy worker has a link"
        if not self._link.send(Kind.BATCHES, *batches_message([batch.jobs for batch in batches])):
            return False
        self._ahead.extend(batches)
        self._given += len(batches)
        return True

    def cancel_ahead(self, batch: Batch, place: int) -> None:
        """Tell it that nobody waits any more for a job of a batch it has ahead; one that it has begun goes on."""
        if batch in self._ahead and self._link is not None:
            number = self._given - len(self._ahead) + self._ahead.index(batch)
            self._link.send(Kind.CANCEL, numbers_text([number, place]))

    def retire(self) -> None:
        """Let it go: at once if it is not answering, else after its batch."""
        if not self._retired and self.state is not State.DEAD:
            self._retired = True
            self._step(Event.RETIRED)

    def kill(self) -> None:
        """Let it go at once; a batch that it works on is lost."""
        self._retired = True
        if self._process is not None:
            self._process.signal(signal.SIGKILL)

    def check(self, now: float) -> None:
        """Notice a deadline that has passed."""
        deadline = self._life.deadline
        if deadline is not None and now >= deadline:
            if self.state is not State.DYING:
                self._fail(self._phase(), self._late_text(), self._late_hint())
            self._step(Event.LATE)

    def tail(self) -> tuple[str, ...]:
        """Return the last lines it printed."""
        return self._output.tail() if self._output is not None else ()

    # What happens to it.

    def _frame(self, frame: Frame) -> None:
        if frame.kind is Kind.ANSWERS and self.state in (State.BUSY, State.DRAINING):
            self._answered(frame)
            return
        if frame.kind is Kind.METRICS:
            self._measured(frame)
            return
        if frame.kind is Kind.CHUNK and self.state in (State.BUSY, State.DRAINING):
            self._progressed(frame)
            return
        if frame.kind is Kind.GREETING:
            self.pid = orjson.loads(frame.text)["pid"]
        elif frame.kind is Kind.LOAD_FAILED:
            self._load_failure = load_failure_of(frame.text)
        elif frame.kind is Kind.LOADED:
            try:
                self.signature = signature_of(frame.text)
            except BrokenFrame as error:
                self._link_lost(error.message)
                return
        elif frame.kind is Kind.ANSWERS:
            self._answered_late += 1
        event = _EVENTS.get(frame.kind)
        if event is not None:
            self._step(event)

    def _measured(self, frame: Frame) -> None:
        try:
            self._overseer.measured(metrics_of(frame.text))
        except BrokenFrame as error:
            self._link_lost(error.message)

    def _progressed(self, frame: Frame) -> None:
        """Hand on parts of answers; the worker has its response timeout anew."""
        batch = self._batch
        assert batch is not None, "a busy worker has a batch"
        try:
            progress = parts_of(frame.text, frame.body)
            wrong = next((each.index for each in progress if not 0 <= each.index < len(batch.jobs)), None)
            if wrong is not None:
                raise BrokenFrame(f"the worker sent a part of answer {wrong} to a batch of {len(batch.jobs)}")
        except BrokenFrame as error:
            self._link_lost(error.message)
            return
        self._step(Event.PROGRESSED)
        for each in progress:
            if each.head is not None:
                batch.begin(each.index, each.head)
            batch.chunks(each.index, each.parts)

    def _answered(self, frame: Frame) -> None:
        """Take a batch's answers; the next batch is on its way to the worker before they are handed on."""
        batch = self._batch
        assert batch is not None, "a busy worker has a batch"
        try:
            answers = answers_of(frame.text, frame.body, len(batch.jobs))
        except BrokenFrame as error:
            self._link_lost(error.message)
            return
        self.proven = True
        self._batch = self._ahead.popleft() if self._ahead else None
        if self._batch is None:
            self._step(Event.ANSWERED)
        else:
            self._batch.started()
            machine.step(self._life, Event.PROGRESSED, self._loop.time(), self._limits)  # a deadline that moves on needs no new alarm
            self._overseer.give_ahead(self)
        batch.answered(answers)

    def _link_lost(self, broken: str | None) -> None:
        if broken is not None:
            self._answered_late = len(self._ahead)  # what it meant to say is not known
        self._broken = self._broken or broken
        self._step(Event.LINK_LOST)

    def _exited(self, ended: Exit) -> None:
        self.exit = ended
        if self._output is not None:
            self._output.close()
        if self._link is not None:
            self._link.read_what_is_left()
            self._link.close()
        if not self._retired or self._has_work():
            unexpected = self.failure is None and not self._retired
            self._fail(self._phase(), self._end_text(ended), hint_of(ended, self._out_of_memory_kills()) if unexpected else None)
            if self.failure is not None and unexpected:
                self.failure = replace(self.failure, out_of_memory=ended.is_kill)
        if self.failure is not None:
            # With what it printed while it was dying.
            text = self.failure.traceback_text or traceback_in(self.tail())
            self.failure = replace(self.failure, log_tail=self.tail(), traceback_text=text)
        self._step(Event.EXITED)

    # What is done about it.

    def _step(self, event: Event) -> None:
        for action in machine.step(self._life, event, self._loop.time(), self._limits):
            self._do(action)
        self._watch()

    def _watch(self) -> None:
        if self._life.deadline is not None:
            self._overseer.watch(self._life.deadline)

    def _do(self, action: Action) -> None:
        match action:
            case Action.TAKE_WORK:
                self._overseer.take_work(self)
            case Action.ANNOUNCE:
                self._loaded_at = self._life.since
                self._overseer.loaded(self)
            case Action.WITHDRAW:
                self._overseer.withdraw(self)
            case Action.SEND_SPEC:
                assert self._link is not None
                self._link.send(Kind.SPEC, spec_text(self._spec))
            case Action.SEND_STOP:
                assert self._link is not None
                self._link.send(Kind.STOP, b"{}")
            case Action.TERMINATE:
                if self._process is not None:
                    self._process.signal(signal.SIGTERM)
            case Action.KILL:
                if self._process is not None:
                    self._process.signal(signal.SIGKILL)
            case Action.FAIL_BATCH:
                self._fail_batch()
            case Action.BURY:
                self._overseer.bury(self)

    def _fail_batch(self) -> None:
        batch, self._batch = self._batch, None
        if batch is not None:
            assert self.failure is not None, "a worker fails its batch for a reason"
            batch.lost(self.failure)
        if self.exit is not None:  # only then is it certain whether it began the batch that it had ahead
            self._give_back_ahead()

    def _give_back_ahead(self) -> None:
        """Let another worker have the batches ahead; those that this one may have begun are lost with it: nothing is run twice."""
        ahead, self._ahead = list(self._ahead), deque()
        for batch in reversed(ahead[self._answered_late :]):
            self._overseer.take_back(batch)
        for batch in ahead[: self._answered_late]:
            assert self.failure is not None, "a worker fails its batch for a reason"
            batch.lost(self.failure)

    def _has_work(self) -> bool:
        """Return whether jobs are lost with it."""
        return self._batch is not None or bool(self._ahead)

    def _out_of_memory_kills(self) -> int:
        """Return how often the kernel has killed for memory since it was started; 0 where that cannot be known."""
        kills = out_of_memory_kills()
        return kills - self._kills_before if kills is not None and self._kills_before is not None else 0

    # Words.

    def _phase(self) -> str:
        """Return what it was doing when it failed."""
        if self._loaded_at is not None:
            return "answer"
        return "start" if self.pid is None else "load"

    def _fail(self, phase: str, message: str, hint: str | None) -> None:
        """Note why it ends; the first reason counts, later ones are its consequences."""
        if self.failure is not None:
            return
        if self._load_failure is not None:
            told = self._load_failure
            self.failure = Failure("load", told.message, told.hint, self.tail(), told.traceback_text)
        else:
            self.failure = Failure(phase, message, hint, self.tail())

    def _who(self) -> str:
        return f"worker {self.number} of model {self._spec.name} {self._spec.version}"

    def _doing(self) -> str:
        if self._has_work():
            return "while it answered"
        return {"start": "before it started", "load": "while it loaded the model", "answer": "while it was idle"}[self._phase()]

    def _end_text(self, ended: Exit) -> str:
        last = next((line for line in reversed(self.tail()) if line.strip()), None)
        tail = f'; its last line: "{last.strip()[:200]}"' if last else ""
        if self._broken is not None:
            return f"{self._who()} was ended {self._doing()}: {self._broken}{tail}"
        if ended.note is not None and self._phase() == "start":
            return f"{self._who()} {ended}"
        return f"{self._who()} {ended} {self._doing()}{tail}"

    def _late_text(self) -> str:
        limits = self._limits
        match self.state:
            case State.STARTING:
                return f"{self._who()} did not start within {limits.start_seconds:g} s"
            case State.LOADING:
                return f"{self._who()} did not load the model within {limits.load_seconds:g} s (startupTimeout)"
            case State.DRAINING if self._life.since + limits.drain_seconds <= (self._life.deadline or 0.0):
                return f"{self._who()} did not finish its batch within {limits.drain_seconds:g} s of being let go"
            case _:
                return f"{self._who()} gave no answer within {limits.answer_seconds:g} s (responseTimeout) and was killed"

    def _late_hint(self) -> str:
        match self.state:
            case State.STARTING:
                return "the machine is overloaded, or an import hangs: the log shows where"
            case State.LOADING:
                return "raise startupTimeout if the model needs longer; the log shows where it stood"
            case _:
                return "raise responseTimeout if answers may take longer; the log shows where it stood"
