"""The workers of one model version: as many as wished, replaced when they die, let go without losing a batch.

``batching.queue.ModelQueue`` gives it work through a ``WorkSource``; the repository opens, scales and stops it. All calls are made on
the front's loop; nothing here blocks.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import psutil

from flambeau.foundation.errors import NotReady, TimedOut
from flambeau.foundation.tasks import TaskOwner
from flambeau.serving.model import MetricUpdate, ModelSpec, Signature
from flambeau.serving.workers import machine, restart, scaling
from flambeau.serving.workers.alarm import Alarm
from flambeau.serving.workers.devices import Devices
from flambeau.serving.workers.failure import Exit, Failure
from flambeau.serving.workers.machine import State
from flambeau.serving.workers.restart import Failures
from flambeau.serving.workers.shared import SharedWorker
from flambeau.serving.workers.starter import Starter
from flambeau.serving.workers.worker import Batch, Worker

_log = logging.getLogger(__name__)
PRINTED = "flambeau.worker"
"""The logger of what workers print; its records have the fields model, version and worker."""
_printed = logging.getLogger(PRINTED)

END_SECONDS = 10.0
"""Within stop(): from SIGKILL to giving up on a process that the kernel does not end (a hung disk or device)."""
LOOP_SECONDS = 5.0
"""asyncCommunication: from the responseTimeout, which the worker keeps itself, to ending a worker from which nothing comes."""
_SERVING = (State.IDLE, State.BUSY)
_COMING = (State.STARTING, State.LOADING)

OnLog = Callable[[int, str], None]
"""Called with a worker's number and a line that it printed."""
OnMetrics = Callable[[ModelSpec, Sequence[MetricUpdate]], None]
"""Called on the loop with what a model's handler measured; must not raise."""
OnLoaded = Callable[[ModelSpec, int, float], None]
"""Called with a worker's number when it has loaded, and the seconds since it was asked for; must not raise."""


class WorkSource(Protocol):
    """Where batches come from: the queue."""

    @property
    def is_sticky(self) -> bool:
        """Whether what one idle worker may not take can be another's."""
        ...

    def next_ahead(self, have: int) -> list[Batch]:
        """Return the batches that the only worker should do after those it has; none where they wait for company, or for their turn.

        Args:
            have: how many it has ahead of time already.
        """
        ...

    def next_batch(self, worker: int) -> Batch | None:
        """Return what an idle worker should do now, or None."""
        ...

    def has_room(self, worker: int) -> bool:
        """Return whether an idle worker may take any job that comes."""
        ...

    def needs(self, worker: int) -> bool:
        """Return whether an idle worker is still needed."""
        ...

    def worker_gone(self, worker: int) -> None:
        """Learn that a worker has ended."""
        ...

    def take_back(self, batch: Batch) -> None:
        """Queue a batch's jobs again, first of all: no worker has seen them."""
        ...

    def oldest_wait_seconds(self, now: float) -> float | None:
        """Return how long the oldest job has waited; None if none waits."""
        ...

    def cannot_be_served(self, failure: Failure) -> None:
        """Learn that no worker is there and the last one failed to load: waiting jobs should hear the cause."""
        ...


@dataclass(frozen=True, slots=True)
class WorkerStatus:
    """What people see of a worker."""

    id: int
    pid: int | None
    state: State
    started_at: float
    """Seconds since the epoch."""
    memory_bytes: int
    """Resident, as the kernel counts it: pages shared with the fork server included. 0 if unknown."""
    device: str
    """``cpu``, ``cuda:1``; of several GPUs the first."""
    last_exit: Exit | None
    """How the pool's last dead worker ended."""


class WorkerPool:
    """Keep a model version's workers.

    Args:
        spec: the model; ``spec.config`` says how many workers, how long they may take.
        starter: where processes come from.
        on_log: called with what workers print; by default it goes to the log.
        limits: of a worker's states; by default from ``spec.config``.
        devices: where workers of a model on GPUs get theirs.
    """

    def __init__(
        self,
        spec: ModelSpec,
        starter: Starter,
        on_log: OnLog | None = None,
        *,
        limits: machine.Limits | None = None,
        devices: Devices | None = None,
    ) -> None:
        self.spec = spec
        self._starter = starter
        self._devices = devices if spec.config.device_type == "gpu" else None
        self._on_log = on_log or self._print
        config = spec.config
        # A worker with an event loop cancels what is late by itself; we come after it, should its loop hang.
        answer_seconds = config.response_timeout_seconds + (LOOP_SECONDS if config.async_communication else 0.0)
        self._limits = limits or machine.Limits(load_seconds=config.startup_timeout_seconds, answer_seconds=answer_seconds)
        self._works_ahead = config.parallelism is None and not config.is_shared
        self._workers_min = config.min_workers
        self._workers_max = max(config.min_workers, config.max_workers)
        self._source: WorkSource | None = None
        self._workers: dict[int, Worker] = {}
        self._started_at: dict[int, float] = {}
        self._number_changed_at = float("-inf")
        self._idle: list[Worker] = []  # a stack: the one that worked last has the warmest caches, the others may be let go
        self._next_number = 1
        self._failures = Failures()
        self._restart_at: list[float] = []
        self._failure: Failure | None = None
        self._last_exit: Exit | None = None
        self.on_metrics: OnMetrics | None = None
        """Who wants the handler's metrics; set before ``start``. Until then they are dropped."""
        self.on_loaded: OnLoaded | None = None
        """Who wants to know how long workers take to load; set before ``start``."""
        self.last_failure: Failure | None = None
        """Why a worker was missing last, also after its successor has loaded."""
        self.signature = Signature()
        """What the last worker that has loaded said of the model."""
        self.deaths = 0
        """Workers that ended though they were wanted."""
        self._stopping = False
        self._scaled_while_ready = False
        self._tasks = TaskOwner(f"pool of {spec.name} {spec.version}")
        self._alarm = Alarm(self._due)
        self._changed: set[asyncio.Future[None]] = set()

    # Life.

    def start(self) -> None:
        """Ask for the minimum of workers; returns at once."""
        self._settle()

    def attach(self, source: WorkSource) -> None:
        """Take work from a queue."""
        self._source = source

    def scale(self, workers_min: int, workers_max: int) -> None:
        """Change the bounds; workers over the maximum are let go after their batch.

        Raises:
            ValueError: the bounds are not 0 <= min <= max.
        """
        if not 0 <= workers_min <= workers_max:
            raise ValueError(f"workers of {self.spec.name}: 0 <= min <= max, not {workers_min} and {workers_max}")
        self._scaled_while_ready = self.is_steady
        self._workers_min, self._workers_max = workers_min, workers_max
        self._restart_at.clear()  # whoever scales wants to see it tried now
        self._failure = None
        self._settle()

    async def stop(self, grace_seconds: float = 30.0) -> None:
        """Let every worker go: idle ones now, busy ones after their batch or the grace. No process is left behind.

        Args:
            grace_seconds: how long batches may still take; then the worker is killed and its batch answered with that.
        """
        self._stopping = True
        self._restart_at.clear()
        for worker in list(self._workers.values()):
            worker.retire()
        deadline = asyncio.get_running_loop().time() + grace_seconds
        await self._until(lambda: not self._workers, deadline)
        for worker in list(self._workers.values()):
            worker.kill()
        await self._until(lambda: not self._workers, asyncio.get_running_loop().time() + END_SECONDS)
        if self._workers:
            _log.error("the kernel does not end %d workers of %s", len(self._workers), self.spec.name)
        self._alarm.close()
        await self._tasks.close()

    async def wait_ready(self, deadline: float) -> None:
        """Wait until the minimum of workers is loaded.

        Args:
            deadline: on the loop's clock.

        Raises:
            NotReady: a worker failed first; tries go on by themselves, and this may be called again. Or the pool was stopped.
            TimedOut: the deadline passed.
        """
        await self._until(lambda: self.ready or self._failure is not None or self._stopping, deadline)
        if self._stopping:
            raise NotReady(f"model {self.spec.name} {self.spec.version} is being unloaded")
        if self.ready:
            return
        if self._failure is not None:
            raise NotReady(self._failure.message, hint=self._failure.hint, reason="ModelLoadFailed")
        who = f"model {self.spec.name} {self.spec.version}"
        raise TimedOut(f"{who} has {self.workers_serving} of {self._workers_min} workers loaded after the time it was given")

    async def wait_let_go(self, deadline: float) -> None:
        """Wait until no more workers than the maximum are there; at the deadline the busy ones among the others are left to their batch.

        Args:
            deadline: on the loop's clock.
        """
        await self._until(lambda: len(self._workers) <= self._workers_max or self._stopping, deadline)

    # What it says.

    @property
    def ready(self) -> bool:
        """Whether the minimum of workers can answer."""
        return self.workers_serving >= self._workers_min

    @property
    def is_steady(self) -> bool:
        """Whether it is ready, or was so when its minimum was raised and nothing has gone wrong with the workers that are coming."""
        return self.ready or (self._scaled_while_ready and self._failure is None and self.workers_serving > 0)

    @property
    def workers_serving(self) -> int:
        """Workers that can answer."""
        return sum(worker.state in _SERVING for worker in self._workers.values())

    @property
    def workers_total(self) -> int:
        """Workers, in whatever state."""
        return len(self._workers)

    def load_seconds(self) -> dict[int, float]:
        """Return how long each worker that has loaded took from being asked for, by its number."""
        return {number: worker.loaded_at - worker.asked_at for number, worker in self._workers.items() if worker.loaded_at is not None}

    @property
    def has_idle(self) -> bool:
        """Whether a batch would be taken at once."""
        return bool(self._idle)

    @property
    def idle(self) -> int:
        """Workers that would take a batch at once."""
        return len(self._idle)

    @property
    def workers_min(self) -> int:
        """Fewest workers wished."""
        return self._workers_min

    @property
    def workers_max(self) -> int:
        """Most workers wished."""
        return self._workers_max

    def failure(self) -> Failure | None:
        """Return why a worker is missing; None once one has loaded again."""
        return self._failure

    def unservable(self) -> str | None:
        """Return why no worker can answer and none will soon; None where waiting makes sense.

        A worker that died while answering is replaced at once, and jobs wait for it; one that cannot load is tried again by back-off,
        and nobody should wait for that.
        """
        for worker in self._workers.values():  # asked for every request that finds nobody idle: the first who serves is enough
            if worker.state in _SERVING:
                return None
        if self._failure is not None and (self._failure.phase != "answer" or self._failures.count > 1):
            return str(self._failure)
        if self._workers_max == 0 or self._stopping:
            return f"model {self.spec.name} {self.spec.version} has no worker to serve inference requests; scale it up"
        return None

    def workers(self) -> tuple[WorkerStatus, ...]:
        """Return what people see of each worker."""
        return tuple(
            WorkerStatus(
                number, worker.pid, worker.state, self._started_at[number], _resident_bytes(worker.pid), worker.device, self._last_exit
            )
            for number, worker in self._workers.items()
        )

    # The queue's side.

    def work_waits(self) -> None:
        """Give waiting jobs to idle workers; called by the queue when jobs came."""
        if self._source is not None and self._source.is_sticky:
            self._offer_to_each()
        else:
            while self._idle:
                if not self._dispatch_to(self._idle.pop()):
                    return
            if self._workers_max == 1:
                for worker in self._workers.values():
                    self.give_ahead(worker)
        if not self._workers:
            self._settle()
        elif len(self._workers) < self._workers_max:
            self._alarm.set_by(asyncio.get_running_loop().time() + scaling.GROW_AFTER_SECONDS)

    def _offer_to_each(self) -> None:
        """Offer what waits to every idle worker, until none may take any more."""
        taken = True
        while taken:
            taken = False
            for worker in list(self._idle):
                if worker in self._idle:  # answers on the way may have brought new jobs, and those here again
                    self._idle.remove(worker)
                    taken |= self._dispatch_to(worker)

    # The workers' side (worker.Overseer).

    def measured(self, updates: Sequence[MetricUpdate]) -> None:
        """Hand on what the handler measured, if somebody wants it."""
        if self.on_metrics is not None:
            self.on_metrics(self.spec, updates)

    def loaded(self, worker: Worker) -> None:
        """Note that a worker has loaded: the last failure is over."""
        self._failure = None
        self.signature = worker.signature
        if self._devices is not None:
            self._devices.note_loaded(worker)
        _log.info("model %s %s loaded", self.spec.name, self.spec.version, extra={"fields": {"worker": worker.number, "pid": worker.pid}})
        if self.on_loaded is not None and worker.loaded_at is not None:
            self.on_loaded(self.spec, worker.number, worker.loaded_at - worker.asked_at)
        self._notify()

    def take_work(self, worker: Worker) -> None:
        """Give an idle worker its next batch, or note it as idle."""
        if self._dispatch_to(worker):
            return
        if len(self._workers) > self._workers_min:
            self._alarm.set_by(worker.since + scaling.SHRINK_AFTER_SECONDS)

    def give_ahead(self, worker: Worker) -> None:
        """Give the only worker its next batches while it is busy, so that it need not wait for our turn between two.

        With several workers a batch would wait behind one while another is idle, and a group's processes would not leave out the same jobs.
        """
        source = self._source
        if self._workers_max != 1 or source is None or not self._works_ahead or not worker.takes_ahead:
            return
        batches = source.next_ahead(worker.ahead)
        if batches and not worker.dispatch_ahead(batches):
            for batch in reversed(batches):
                source.take_back(batch)

    def cancel_ahead(self, batch: Batch, place: int) -> None:
        """Learn that nobody waits any more for a job of a batch that the only worker has ahead."""
        for worker in self._workers.values():
            worker.cancel_ahead(batch, place)

    def take_back(self, batch: Batch) -> None:
        """Queue a batch's jobs again: its worker has died and never began it."""
        if self._source is not None:
            self._source.take_back(batch)

    def stay_available(self, worker: Worker) -> None:
        """Note that a worker that has work can take more; the others come before it."""
        self._idle.insert(0, worker)

    def withdraw(self, worker: Worker) -> None:
        """Give an idle worker nothing more."""
        with contextlib.suppress(ValueError):
            self._idle.remove(worker)

    def bury(self, worker: Worker) -> None:
        """Forget a dead worker and plan its successor."""
        del self._workers[worker.number]
        del self._started_at[worker.number]
        if self._devices is not None:
            self._devices.release(worker)
        self._last_exit = worker.exit
        failure = worker.failure
        if failure is not None and not worker.retired:
            self.deaths += 1
            now = asyncio.get_running_loop().time()
            lived = now - worker.loaded_at if worker.loaded_at is not None else 0.0
            proven = worker.proven or lived >= restart.PROVEN_SECONDS
            self._failures = restart.after_failure(self._failures, now, asked_at=worker.asked_at, proven=proven)
            delay = restart.delay_seconds(self._failures, now, self.spec.config.max_retry_timeout_seconds)
            self._failure = self.last_failure = failure
            self._restart_at.append(now + delay)
            _log.error("%s", failure, extra={"fields": {"phase": failure.phase, "failures": self._failures.count, "retry_seconds": delay}})
            if self._source is not None and self.unservable() is not None:
                self._source.cannot_be_served(failure)
        if self._source is not None:
            self._source.worker_gone(worker.number)
        self._settle()
        self._notify()

    def watch(self, deadline: float) -> None:
        """Have the workers' deadlines checked soon after a time."""
        self._alarm.set_by(deadline)

    # Inner workings.

    def _dispatch_to(self, worker: Worker) -> bool:
        """Give a worker the next batch; without one it is noted as idle, and False is returned."""
        batch = self._source.next_batch(worker.number) if self._source is not None else None
        if batch is None or self._source is None:
            self._idle.append(worker)
            return False
        if not worker.dispatch(batch):
            self._source.take_back(batch)
        return True

    def _due(self, now: float) -> float | None:
        """Check every deadline that has passed; return the next."""
        for worker in list(self._workers.values()):
            worker.check(now)
        self._settle()
        return self._next_deadline(now)

    def _next_deadline(self, now: float) -> float | None:
        times = [worker.deadline for worker in self._workers.values() if worker.deadline is not None] + self._restart_at
        longest_idle = self._longest_idle()
        if longest_idle is not None and len(self._workers) > self._workers_min:
            shrink_at = max(longest_idle.since + scaling.SHRINK_AFTER_SECONDS, self._number_changed_at + scaling.CALM_SECONDS)
            times.append(max(shrink_at, now + scaling.GROW_AFTER_SECONDS))
        if self._source is not None and len(self._workers) < self._workers_max and self._source.oldest_wait_seconds(now) is not None:
            times.append(now + scaling.GROW_AFTER_SECONDS)
        return min(times, default=None)

    def _settle(self) -> None:
        """Make the number of workers what it should be now."""
        if self._stopping:
            return
        now = asyncio.get_running_loop().time()
        self._restart_at = [when for when in self._restart_at if when > now]
        for when in self._restart_at:
            self._alarm.set_by(when)
        staying = [worker for worker in self._workers.values() if not worker.retired]
        planned = len(staying) + len(self._restart_at)
        observed = self._observed(staying, planned, now)
        wish = scaling.wished_workers(observed, self._workers_min, self._workers_max)
        wished = wish.workers
        if wished != planned:
            self._note_change(observed, wish, now)
        for _ in range(wished - planned):
            self._add()
        surplus = planned - wished
        while surplus > 0 and self._restart_at:
            self._restart_at.pop()
            surplus -= 1
        for worker in self._least_needed(staying)[: max(surplus, 0)]:
            worker.retire()

    def _observed(self, staying: list[Worker], planned: int, now: float) -> scaling.Observed:
        source, longest_idle = self._source, self._longest_idle()
        return scaling.Observed(
            workers=planned,
            coming=sum(worker.state in _COMING for worker in staying) + len(self._restart_at),
            idle=sum(source is None or source.has_room(worker.number) for worker in self._idle),
            oldest_wait_seconds=source.oldest_wait_seconds(now) if source is not None else None,
            longest_idle_seconds=now - longest_idle.since if longest_idle is not None else 0.0,
            unchanged_seconds=now - self._number_changed_at,
        )

    def _longest_idle(self) -> Worker | None:
        """Return the worker that has had nothing to do for longest and is not needed."""
        free = (w for w in self._idle if w.state is State.IDLE and not (self._source is not None and self._source.needs(w.number)))
        return min(free, key=lambda worker: worker.since, default=None)

    def _note_change(self, observed: scaling.Observed, wish: scaling.Wish, now: float) -> None:
        """Note a change of the number of workers, and log it with what it was decided from."""
        self._number_changed_at = now
        fields = {
            "workers": observed.workers,
            "wished": wish.workers,
            "idle": observed.idle,
            "coming": observed.coming,
            "oldest_wait_seconds": round(observed.oldest_wait_seconds or 0.0, 3),
            "longest_idle_seconds": round(observed.longest_idle_seconds, 1),
        }
        who = f"{self.spec.name} {self.spec.version}"
        _log.info("model %s: from %d to %d workers: %s", who, observed.workers, wish.workers, wish.reason, extra={"fields": fields})

    def _least_needed(self, staying: list[Worker]) -> list[Worker]:
        """Return workers in the order in which to let them go: coming ones, idle ones longest idle first, busy ones."""
        order = {State.STARTING: 0, State.LOADING: 1, State.IDLE: 2}
        source = self._source
        return sorted(
            staying,
            key=lambda worker: (source is not None and source.needs(worker.number), order.get(worker.state, 3), worker.since),
        )

    def _add(self) -> None:
        number = self._next_number
        self._next_number += 1
        kind = SharedWorker if self.spec.config.is_shared else Worker
        worker = kind(number, self.spec, self._limits, self, lambda line: self._on_log(number, line))
        self._workers[number] = worker
        self._started_at[number] = time.time()
        self._tasks.start(f"start worker {number}", self._start(worker))

    async def _start(self, worker: Worker) -> None:
        """Start a worker, on the GPUs that are best for it now."""
        if self._devices is not None:
            config = self.spec.config
            worker.take_devices(await self._devices.claim(worker, config.device_ids, config.devices_per_worker))
        await worker.start(self._starter)

    def _print(self, number: int, line: str) -> None:
        _printed.info("%s", line, extra={"fields": {"model": self.spec.name, "version": self.spec.version, "worker": number}})

    def _notify(self) -> None:
        for waiter in self._changed:
            if not waiter.done():
                waiter.set_result(None)

    async def _until(self, holds: Callable[[], bool], deadline: float) -> None:
        """Wait until something holds or the deadline passes; looked at whenever a worker loads or ends."""
        loop = asyncio.get_running_loop()
        while not holds() and loop.time() < deadline:
            waiter: asyncio.Future[None] = loop.create_future()
            self._changed.add(waiter)
            try:
                await asyncio.wait_for(waiter, deadline - loop.time())
            except TimeoutError:
                return
            finally:
                self._changed.discard(waiter)


def _resident_bytes(pid: int | None) -> int:
    if pid is None:
        return 0
    try:
        return int(psutil.Process(pid).memory_info().rss)
    except psutil.Error:
        return 0
