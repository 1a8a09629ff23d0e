"""The hands of one container: feed its machine, do what it says. What concerns the whole pod it asks of its host, the pod's runner."""

from __future__ import annotations

import asyncio
import os
import signal
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import psutil

from flambeau.control.agent import launching, logs, machine, mailbox, probes
from flambeau.control.agent.commands import inside_of
from flambeau.control.agent.directory import PodDirectory
from flambeau.control.agent.identity import ignored_words
from flambeau.control.agent.machine import Act, Happening, Phase, State, Tell
from flambeau.control.agent.mailbox import Mailbox
from flambeau.control.agent.probes import Probe, Verdict
from flambeau.control.agent.process import Ending, Leader, describe
from flambeau.control.agent.status import is_asked
from flambeau.control.agent.usage import memory_bytes_over
from flambeau.control.resources.kind import Object
from flambeau.control.resources.lookup import find
from flambeau.control.resources.pod_contract import is_sidecar
from flambeau.control.resources.quantity import amount
from flambeau.control.store.interface import Store
from flambeau.foundation.clock import Clock
from flambeau.foundation.errors import FlambeauError
from flambeau.foundation.tasks import TaskOwner

MESSAGE_LINES = 3
"""Of a log, in the message about an exit."""
MEMORY_LOOK_SECONDS = 0.5
"""Between two looks at what a container with a memory limit uses."""
DEFECT_PAUSE_SECONDS = 5.0
"""Before probes that failed by a defect go on."""
HOOK_SECONDS_MAX = 600.0
"""How long a hook may take; before a stop, never longer than the pod's grace."""


class Host(Protocol):
    """What a container needs of its pod."""

    @property
    def pod(self) -> Object:
        """Return the newest state of the pod that is known."""
        ...

    @property
    def grace_seconds(self) -> float:
        """Return how long the pod's processes may take to stop."""
        ...

    def address(self) -> str:
        """Return the pod's address."""
        ...

    async def prepare(self) -> str:
        """Do what the init containers do; return a sentence about it.

        Raises:
            FlambeauError: one of them failed.
        """
        ...

    def prepared(self) -> None:
        """Take note that the init containers are done: the other containers may begin."""
        ...

    def note_ours(self, container: str, *, ours: bool) -> None:
        """Write down whether a container is our own server."""
        ...

    def held_back(self, container: str) -> str:
        """Return why a container that answers is not to be shown ready yet; empty where nothing is in the way."""
        ...

    async def tell(self, tell: Tell) -> None:
        """Write an event."""
        ...

    async def show(self, *, at_once: bool = False) -> None:
        """Show the containers' states in the pod's status, if it is time to."""
        ...

    def seconds_until_shown(self) -> float | None:
        """Return in how many seconds there is something to show; None: there is not."""
        ...


@dataclass(frozen=True, slots=True)
class Tools:
    """What a container works with."""

    directory: PodDirectory
    store: Store
    clock: Clock
    tasks: TaskOwner
    """The pod's."""


class ContainerRunner:
    """Take one container from its begin to its end.

    Args:
        container: of the pod's spec.
        state: to begin with.
        host: the pod.
        tools: what it works with.
    """

    def __init__(self, container: Object, state: State, host: Host, tools: Tools) -> None:
        self.name = str(container["name"])
        self.state = state
        self.is_ours = False
        self._container = container
        self._host = host
        self._directory = tools.directory
        self._store = tools.store
        self._clock = tools.clock
        self._tasks = tools.tasks
        self.started = asyncio.Event()
        """Set once it runs, and its startup probe, if it has one, has succeeded."""
        self.ended = asyncio.Event()
        """Set once it has ended for good while its pod lives."""
        if state.phase is Phase.ENDED:
            self.ended.set()
        self._mailbox = Mailbox()
        self._leader: Leader | None = None
        self._probing: asyncio.Task[None] | None = None
        self._living: asyncio.Task[None] | None = None
        self._fetching: asyncio.Task[None] | None = None

    def put(self, event: Happening) -> None:
        """Let the container know that something happened."""
        self._mailbox.put(event)

    async def take_up(self, *, was_ready: bool) -> None:
        """Adopt the process that an earlier agent left, or take note that it has ended; without one, nothing."""
        record = self._directory.record(self.name)
        if record is None:
            return
        if record.is_alive():
            self._watch(Leader(record, None))
            await self._handle(machine.Adopted(ready=was_ready))
        else:
            self._directory.forget_record(self.name)
            await self._handle(self._exited(Ending(None, None)))

    async def run(self) -> None:
        """Run the container until it is gone.

        Cancel: the process goes on; a later agent adopts it.
        """
        while self.state.phase is not Phase.GONE:
            event = await self._mailbox.take(self._seconds_left())
            if event is not None:
                await self._handle(event)
            elif self.state.deadline is not None and self._clock.monotonic() >= self.state.deadline:
                await self._handle(machine.Passed())
            await self._host.show()

    def _seconds_left(self) -> float | None:
        """Return how long nothing needs to be done unless something happens."""
        shown = self._host.seconds_until_shown()
        moments = [] if shown is None else [shown]
        if self.state.deadline is not None:
            moments.append(self.state.deadline - self._clock.monotonic())
        return max(0.0, min(moments)) if moments else None

    async def _handle(self, event: Happening) -> None:
        """Take one step, act, and go on with what the acts brought about."""
        pending: list[Happening] = [event]
        while pending:
            before = self.state
            self.state, actions = machine.step(before, pending.pop(0), self._clock.monotonic())
            if before.phase is Phase.READY is not self.state.phase:
                await self._host.show(at_once=True)  # first of all the pod has to look unready, so that nothing more is sent to it
            if self.state.phase is Phase.ENDED:
                self.ended.set()
            for action in actions:
                produced = await self._act(action)
                if produced is not None:
                    pending.append(produced)
        await self._host.show()

    async def _act(self, action: machine.Action) -> Happening | None:
        match action:
            case Tell():
                await self._host.tell(action)
            case Act.FETCH:
                self._fetching = self._tasks.start(f"{self.name}/fetch", self._fetch())
            case Act.CANCEL_FETCH:
                self._cancel(self._fetching, mailbox.FETCH)
            case Act.SPAWN:
                self._begin_others()
                return await self._spawn()
            case Act.PROBE:
                self._begin_others()
                self._probing = self._tasks.start(f"{self.name}/probe", self._ask_for_ever())
            case Act.CANCEL_PROBE:
                self._cancel(self._probing, mailbox.PROBE)
                self._cancel(self._living, mailbox.PROBE)
            case Act.TERMINATE:
                self._tasks.start(f"{self.name}/terminate", self._terminate())
            case Act.KILL:
                self._signal(signal.SIGKILL)
            case Act.CLEAN:
                self._directory.forget_record(self.name)
        return None

    def _begin_others(self) -> None:
        if not is_sidecar(self._container):
            self._host.prepared()

    def _cancel(self, task: asyncio.Task[None] | None, slot: str) -> None:
        if task is not None:
            task.cancel()
        self._mailbox.drop(slot)

    def _signal(self, number: signal.Signals) -> None:
        if self._leader is not None:
            self._leader.signal(number)

    async def _fetch(self) -> None:
        try:
            self.put(machine.Fetched(await self._host.prepare()))
        except FlambeauError as error:
            self.put(machine.FetchFailed(error.reason, str(error)))

    # The process

    async def _spawn(self) -> Happening:
        try:
            plan = await launching.plan(self._host.pod, self._container, self._directory, self._host.address(), self._store)
            self.is_ours = plan.command.ours
            self._host.note_ours(self.name, ours=self.is_ours)
            child, record = launching.start(plan, self._directory)
        except FlambeauError as error:
            return machine.SpawnFailed(launching.waiting_reason(error), str(error))
        except OSError as error:  # the disk refused a note about the pod
            return machine.SpawnFailed("RunContainerError", f"cannot start {self.name}: {error}")
        self._watch(Leader(record, child))
        await self._tell_limits()
        if hook := find(self._container, "lifecycle", "postStart"):
            self._tasks.start(f"{self.name}/postStart", self._begin_by(hook))
        return machine.Spawned(record.pid)

    async def _tell_limits(self) -> None:
        """Say once how the YAML's limits are kept here."""
        if self.state.restarts:
            return
        if ignored := ignored_words(self._host.pod, self._container, os.geteuid()):
            await self._host.tell(Tell("Warning", "SecurityContextIgnored", ignored))
        await self._tell_excess()
        limits = dict(find(self._container, "resources", "limits") or {})
        if not limits:
            return
        kept = {
            "memory": f"memory {limits.get('memory')}: over it the container is killed (OOMKilled)",
            "cpu": f"cpu {limits.get('cpu')}: its computing threads are kept to it (OMP_NUM_THREADS), its time is not",
        }
        words = [kept.get(name, f"{name} {value}: not enforced") for name, value in sorted(limits.items())]
        await self._host.tell(Tell("Normal", "LimitsOnThisMachine", f"{self.name}: {'; '.join(words)}"))

    async def _tell_excess(self) -> None:
        """Say what the YAML requests beyond what the machine has: a cluster would not run it, here it may well work."""
        graphics = sum(1 for _ in Path("/dev").glob("nvidia[0-9]*"))
        has = {"cpu": float(os.cpu_count() or 1), "memory": float(psutil.virtual_memory().total), "nvidia.com/gpu": float(graphics)}
        limits = find(self._container, "resources", "limits") or {}
        requests = {**limits, **(find(self._container, "resources", "requests") or {})}  # a limit alone is requested, too
        over = [f"{name} {requests[name]}" for name, most in sorted(has.items()) if (amount(requests.get(name)) or 0.0) > most]
        if over:
            words = f"{self.name} requests more than this machine has ({', '.join(over)}); it is run all the same"
            await self._host.tell(Tell("Warning", "RequestsExceedMachine", words))

    def _watch(self, leader: Leader) -> None:
        self._leader = leader
        self._tasks.start(f"{self.name}/watch", self._wait_for_end(leader))
        limit = amount(find(self._container, "resources", "limits", "memory"))
        if limit:
            self._tasks.start(f"{self.name}/memory", self._hold_memory(leader, int(limit)))

    async def _wait_for_end(self, leader: Leader) -> None:
        ending = await leader.ended()
        self._leader = None
        self._directory.forget_record(self.name)
        self.put(self._exited(ending))

    async def _hold_memory(self, leader: Leader, limit: int) -> None:
        """Kill the process group when it uses more memory than its limit, as the kernel does with a container."""
        while self._leader is leader:
            used = await asyncio.to_thread(memory_bytes_over, leader.record.pid, limit)
            if used and self._leader is leader:
                wanted = find(self._container, "resources", "limits", "memory")
                message = (
                    f"{self.name} used {used / 1024**2:.0f} MiB of memory, over its limit of {wanted}, and was killed; "
                    "raise resources.limits.memory or use fewer workers"
                )
                self.put(machine.Condemned(machine.OUT_OF_MEMORY, message, 0.0))
                return
            await self._clock.sleep(MEMORY_LOOK_SECONDS)

    def _exited(self, ending: Ending) -> machine.Exited:
        words = self._directory.last_words(self.name) or logs.last_lines(logs.log_path(self._directory.path, self.name), MESSAGE_LINES)
        message = f"{self.name} {describe(ending)}" + (f": {words}" if words else ", and its log is empty")
        return machine.Exited(ending.code, ending.signal, "Completed" if ending.code == 0 else "Error", message)

    # Hooks

    async def _begin_by(self, hook: Object) -> None:
        failure = await self._run_hook(hook, HOOK_SECONDS_MAX)
        if failure:
            self.put(
                machine.Condemned("FailedPostStartHook", f"{self.name}: its postStart hook failed: {failure}", self._host.grace_seconds)
            )

    async def _terminate(self) -> None:
        """Stop the process: its preStop hook, then SIGTERM. The machine kills what takes longer than its grace."""
        hook = find(self._container, "lifecycle", "preStop")
        if hook:
            failure = await self._run_hook(hook, self._host.grace_seconds)
            if failure:
                await self._host.tell(Tell("Warning", "FailedPreStopHook", f"{self.name}: its preStop hook failed: {failure}"))
        self._signal(signal.SIGTERM)

    async def _run_hook(self, hook: Object, seconds_max: float) -> str:
        """Run a hook; return why it failed, or empty words."""
        if (pause := find(hook, "sleep", "seconds")) is not None:
            await self._clock.sleep(min(float(pause), seconds_max))
            return ""
        verdict = await self._ask(replace(probes.question(hook, self._container), timeout_seconds=seconds_max))
        return verdict.message.removeprefix("readiness probe failed: ")

    # Probes

    async def _ask(self, probe: Probe) -> Verdict:
        inside = inside_of(self._directory, self.name) if probe.command else None
        return await probes.check(self._host.address(), probe, inside)

    async def _ask_for_ever(self) -> None:
        ready = self.state.phase is Phase.READY
        if not ready and (startup := probes.startup_of(self._container)) is not None:
            failure = await probes.until_up(self._ask, startup, self._clock)
            self._condemn_if(failure)
            if failure:
                return
        self.started.set()
        if (liveness := probes.liveness_of(self._container)) is not None:
            self._living = self._tasks.start(f"{self.name}/liveness", self._ask_whether_alive(liveness))
        await self._ask_whether_ready(ready=ready)

    async def _ask_whether_ready(self, *, ready: bool) -> None:
        if not is_asked(self._host.pod, self._container) and not self._container.get("readinessProbe"):
            self._believe(Verdict(True))  # it has no port and no question: it is ready as soon as it runs
            return
        probe = probes.probe_for(self._container, ours=self.is_ours)
        await probes.watch(self._ask_if_ready, probe, ready=ready, clock=self._clock, tell=self._believe, beat=self._bound_log)

    async def _ask_if_ready(self, probe: Probe) -> Verdict:
        verdict = await self._ask(probe)
        if verdict.ready and self.state.phase is not Phase.READY and (why := self._host.held_back(self.name)):
            return Verdict(False, "ModelLoading", why)
        return verdict

    async def _ask_whether_alive(self, probe: Probe) -> None:
        self._condemn_if(await probes.until_dead(self._ask, probe, self._clock))

    def _condemn_if(self, message: str) -> None:
        if message:
            self.put(machine.Condemned("Unhealthy", f"{self.name}: {message}; it is started again", self._host.grace_seconds))

    def _believe(self, verdict: Verdict) -> None:
        self.put(machine.ProbeSucceeded() if verdict.ready else machine.ProbeFailed(verdict.reason, verdict.message))

    async def _bound_log(self) -> None:
        path = logs.log_path(self._directory.path, self.name)
        if logs.is_too_long(path):
            await asyncio.to_thread(logs.cut, path)

    def task_failed(self, task: str, error: BaseException) -> None:
        """A defect of ours ended a task: the pod tells, and the machine goes on by its back-off."""
        if task == "fetch":
            self.put(machine.FetchFailed("Internal", f"the fetch failed by a defect: {error!r}"))
        elif task == "probe":
            self._believe(Verdict(False, "Internal", f"a probe of {self.name} failed by a defect: {error!r}"))
            self._probing = self._tasks.start(f"{self.name}/probe", self._ask_on())

    async def _ask_on(self) -> None:
        await self._clock.sleep(DEFECT_PAUSE_SECONDS)
        await self._ask_for_ever()
