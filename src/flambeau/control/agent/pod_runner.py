"""The hands of one pod: feed the machine, do what it says, show how it stands in the pod's status."""

from __future__ import annotations

import asyncio
import logging
import signal
from dataclasses import dataclass, replace

from flambeau.control.agent import launching, logs, machine, mailbox, probes
from flambeau.control.agent.addresses import Addresses
from flambeau.control.agent.directory import Notes, PodDirectory, PodId
from flambeau.control.agent.fetching import fetch_model, holder
from flambeau.control.agent.machine import Act, Happening, Phase, Tell
from flambeau.control.agent.mailbox import Mailbox
from flambeau.control.agent.probes import Verdict
from flambeau.control.agent.process import Ending, Leader, describe
from flambeau.control.agent.status import Facts, model_source, pod_status, server_container
from flambeau.control.resources.kind import Key, Object
from flambeau.control.resources.pod_contract import AGENT_FINALIZER, GATEWAY_FINALIZER
from flambeau.control.resources.pod_ports import http_port
from flambeau.control.store.interface import Store, modify
from flambeau.control.store.recorder import record_event
from flambeau.foundation.clock import Clock
from flambeau.foundation.errors import FlambeauError, NotFound
from flambeau.foundation.tasks import TaskOwner
from flambeau.storage.cache import Cache

COMPONENT = "flambeau-agent"
GRACE_SECONDS = 30.0
"""Where a pod names no terminationGracePeriodSeconds."""
GRACE_SECONDS_MAX = 600.0
SHUTDOWN_GRACE_SECONDS = 15.0
"""For pods that are stopped with the platform, however long their own grace is."""
PUBLISH_PAUSE_SECONDS = 0.5
"""Between two writes of a status in the same phase: progress is news, but not that urgent."""
MESSAGE_LINES = 3
"""Of a log, in the message about an exit."""
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What all pods share."""

    store: Store
    cache: Cache
    clock: Clock
    addresses: Addresses
    fetches: asyncio.Semaphore
    """So many models are fetched at once; others wait."""


class PodRunner:
    """Take one pod from its object to its end.

    Args:
        pod: as in the store.
        directory: the pod's.
        around: what all pods share.
    """

    def __init__(self, pod: Object, directory: PodDirectory, around: Surroundings) -> None:
        self._pod = pod
        self._directory = directory
        self._around = around
        self._id = PodId.of(pod)
        self._notes = Notes("")
        self._mailbox = Mailbox()
        self._tasks = TaskOwner(f"pod {self._id}", self._task_failed)
        self._state = machine.initial(around.clock.monotonic(), source=model_source(pod), restarts=_restarts(pod))
        self._leader: Leader | None = None
        self._probing: asyncio.Task[None] | None = None
        self._fetching: asyncio.Task[None] | None = None
        self._progress = ""
        self._published: tuple[Phase, float] | None = None
        self._unpublished = False
        self._shutdown = False

    @property
    def pod(self) -> Object:
        """Return the newest state of the pod that is known."""
        return self._pod

    def observe(self, pod: Object) -> None:
        """Take note of the pod's newest state in the store; a deletion is acted on."""
        self._pod = {**pod, "status": self._pod.get("status")}  # ours is the newest status: nobody else writes it
        metadata = pod["metadata"]
        if metadata.get("deletionTimestamp"):
            self._mailbox.put(machine.Deleted(_grace(pod)))
            if GATEWAY_FINALIZER not in (metadata.get("finalizers") or ()):
                self._mailbox.put(machine.Dropped())

    def vanish(self) -> None:
        """Stop: the pod is not in the store any more."""
        self._mailbox.put(machine.Deleted(_grace(self._pod)))
        self._mailbox.put(machine.Dropped())

    def inputs_changed(self) -> None:
        """Try again at once what failed for want of a ServiceAccount or Secret."""
        self._mailbox.put(machine.InputsChanged())

    def shut_down(self) -> None:
        """Stop the process, but leave the pod in the store, for the next start."""
        self._shutdown = True
        self._mailbox.put(machine.Deleted(min(_grace(self._pod), SHUTDOWN_GRACE_SECONDS)))
        self._mailbox.put(machine.Dropped())

    async def run(self) -> None:
        """Run the pod until it is gone; its process is adopted where one of an earlier agent still lives.

        Cancel: the process goes on; a later agent adopts it.
        """
        try:
            self.observe(self._pod)
            await self._begin()
            while self._state.phase is not Phase.GONE:
                event = await self._mailbox.take(self._seconds_left())
                if event is not None:
                    await self._handle(event)
                elif self._state.deadline is not None and self._around.clock.monotonic() >= self._state.deadline:
                    await self._handle(machine.Passed())
                await self._publish_if_due()
        finally:
            await self._tasks.close()

    async def _begin(self) -> None:
        self._directory.create()
        record = self._directory.record()
        noted = self._directory.notes()
        if record is None or noted is None:
            if not self._pod["metadata"].get("deletionTimestamp"):
                await self._handle(machine.Begun())
            return
        self._notes = noted
        self._around.addresses.reserve(noted.address)
        if record.is_alive():
            self._watch(Leader(record, None))
            await self._handle(machine.Adopted(ready=_was_ready(self._pod)))
        else:
            self._directory.forget_record()
            await self._handle(self._exited(Ending(None, None)))

    def _seconds_left(self) -> float | None:
        """Return how long nothing needs to be done unless something happens."""
        now = self._around.clock.monotonic()
        moments = [] if self._state.deadline is None else [self._state.deadline]
        if self._unpublished and self._published is not None:
            moments.append(self._published[1] + PUBLISH_PAUSE_SECONDS)
        return max(0.0, min(moments) - now) if moments else None

    async def _handle(self, event: Happening) -> None:
        """Take one step, act, and go on with what the acts brought about."""
        pending: list[Happening] = [event]
        while pending:
            before = self._state
            self._state, actions = machine.step(before, pending.pop(0), self._around.clock.monotonic())
            if self._state != before:
                self._unpublished = True
            if before.phase is Phase.READY is not self._state.phase:
                await self._publish()  # first of all the pod has to look unready, so that nothing more is sent to it
            for action in actions:
                produced = await self._act(action)
                if produced is not None:
                    pending.append(produced)
        await self._publish_if_due()

    async def _act(self, action: machine.Action) -> Happening | None:
        match action:
            case Tell():
                await self._tell(action)
            case Act.FETCH:
                self._progress = ""
                self._fetching = self._tasks.start("fetch", self._fetch())
            case Act.CANCEL_FETCH:
                self._cancel(self._fetching, mailbox.FETCH)
            case Act.SPAWN:
                return await self._spawn()
            case Act.PROBE:
                self._probing = self._tasks.start("probe", self._probe(ready=self._state.phase is Phase.READY))
            case Act.CANCEL_PROBE:
                self._cancel(self._probing, mailbox.PROBE)
            case Act.TERMINATE:
                self._signal(signal.SIGTERM)
            case Act.KILL:
                self._signal(signal.SIGKILL)
            case Act.CLEAN:
                await self._clean()
        return None

    def _cancel(self, task: asyncio.Task[None] | None, slot: str) -> None:
        if task is not None:
            task.cancel()
        self._mailbox.drop(slot)

    def _signal(self, number: signal.Signals) -> None:
        if self._leader is not None:
            self._leader.signal(number)

    # Fetching

    async def _fetch(self) -> None:
        around = self._around
        try:
            async with around.fetches:
                fetched, summary = await fetch_model(
                    self._pod,
                    self._state.source,
                    self._directory,
                    store=around.store,
                    cache=around.cache,
                    clock=around.clock,
                    tell=self._note_progress,
                )
        except FlambeauError as error:
            self._mailbox.put(machine.FetchFailed(error.reason, str(error)))
            return
        self._notes = replace(self._notes, digest=fetched.digest)
        self._mailbox.put(machine.Fetched(summary))

    def _note_progress(self, words: str) -> None:
        self._progress = words
        self._unpublished = True

    # The process

    async def _spawn(self) -> Happening:
        try:
            plan = await launching.plan(self._pod, self._directory, self._address(), self._around.store)
            self._notes = replace(self._notes, ours=plan.command.ours)
            self._directory.write_notes(self._notes)
            child, record = launching.start(plan, self._directory)
        except FlambeauError as error:
            return machine.SpawnFailed(launching.waiting_reason(error), str(error))
        self._watch(Leader(record, child))
        await self._tell_limits()
        return machine.Spawned(record.pid)

    async def _tell_limits(self) -> None:
        """Say once what of the pod's YAML is not kept here."""
        limits = (server_container(self._pod).get("resources") or {}).get("limits") or {}
        if limits and self._state.restarts == 0:
            words = ", ".join(f"{name} {amount}" for name, amount in sorted(limits.items()))
            await self._tell(Tell("Normal", "LimitsNotEnforced", f"the limits ({words}) are not enforced on this machine"))

    def _address(self) -> str:
        """Return the pod's address, taking one when it is first needed."""
        if not self._notes.address:
            port = http_port(server_container(self._pod))
            self._notes = replace(self._notes, address=self._around.addresses.take((port,)))
        return self._notes.address

    def _watch(self, leader: Leader) -> None:
        self._leader = leader
        self._tasks.start("watch", self._wait_for_end(leader))

    async def _wait_for_end(self, leader: Leader) -> None:
        ending = await leader.ended()
        self._leader = None
        self._directory.forget_record()
        self._mailbox.put(self._exited(ending))

    def _exited(self, ending: Ending) -> machine.Exited:
        name = server_container(self._pod)["name"]
        words = self._directory.last_words() or logs.last_lines(logs.log_path(self._directory.path, name), MESSAGE_LINES)
        message = f"{name} {describe(ending)}" + (f": {words}" if words else ", and its log is empty")
        return machine.Exited(ending.code, ending.signal, "Completed" if ending.code == 0 else "Error", message)

    async def _probe(self, *, ready: bool) -> None:
        container = server_container(self._pod)
        await probes.watch(
            self._notes.address,
            probes.probe_for(container, ours=self._notes.ours),
            ready=ready,
            clock=self._around.clock,
            tell=self._believe,
            beat=self._bound_log,
        )

    def _believe(self, verdict: Verdict) -> None:
        self._mailbox.put(machine.ProbeSucceeded() if verdict.ready else machine.ProbeFailed(verdict.reason, verdict.message))

    async def _bound_log(self) -> None:
        path = logs.log_path(self._directory.path, server_container(self._pod)["name"])
        if logs.is_too_long(path):
            await asyncio.to_thread(logs.cut, path)

    def _task_failed(self, name: str, error: BaseException) -> None:
        """A defect of ours ended a task: the pod tells, and the machine goes on by its back-off."""
        if name.endswith("/fetch"):
            self._mailbox.put(machine.FetchFailed("Internal", f"the fetch failed by a defect: {error!r}"))
        elif name.endswith("/probe"):
            self._believe(Verdict(False, "Internal", f"the readiness probe failed by a defect: {error!r}"))

    # The end

    async def _clean(self) -> None:
        around = self._around
        self._directory.forget_record()
        if self._notes.address:
            around.addresses.release(self._notes.address)
        if self._shutdown:
            self._notes = Notes("")
            return
        if self._notes.digest:
            await asyncio.to_thread(around.cache.release, self._notes.digest, holder(self._id.uid))
        await asyncio.to_thread(self._directory.remove)
        await _remove_finalizers(around.store, self._id)

    # What others see

    async def _tell(self, tell: Tell) -> None:
        try:
            await record_event(self._around.store, self._around.clock, self._pod, tell.type, tell.reason, tell.message, COMPONENT)
        except FlambeauError as error:
            _log.warning("cannot write an event about pod %s: %s", self._id, error)

    async def _publish_if_due(self) -> None:
        if not self._unpublished:
            return
        now = self._around.clock.monotonic()
        if self._published is None or self._published[0] is not self._state.phase or now >= self._published[1] + PUBLISH_PAUSE_SECONDS:
            await self._publish()

    async def _publish(self) -> None:
        clock = self._around.clock
        self._published = (self._state.phase, clock.monotonic())
        if self._state.phase is Phase.GONE and not self._shutdown:
            self._unpublished = False
            return
        wall = clock.wall()
        facts = Facts(self._notes.address, self._progress, wall - clock.monotonic())
        shown = {**self._pod, "status": pod_status(self._pod, self._state, facts, wall)}
        shown["metadata"] = {name: value for name, value in self._pod["metadata"].items() if name != "resourceVersion"}
        try:
            self._pod = await self._around.store.update(shown, status=True)
            self._unpublished = False
        except NotFound:
            self._unpublished = False
            self.vanish()
        except FlambeauError as error:
            _log.warning("cannot write the status of pod %s, trying again: %s", self._id, error)


async def _remove_finalizers(store: Store, id: PodId) -> None:
    def change(pod: Object) -> None:
        if pod["metadata"]["uid"] == id.uid:
            kept = [name for name in pod["metadata"].get("finalizers") or () if name not in (AGENT_FINALIZER, GATEWAY_FINALIZER)]
            pod["metadata"]["finalizers"] = kept

    try:
        await modify(store, Key("pods", id.namespace, id.name), change)
    except NotFound:
        return


def _grace(pod: Object) -> float:
    wanted = pod["spec"].get("terminationGracePeriodSeconds")
    return min(GRACE_SECONDS if wanted is None else float(wanted), GRACE_SECONDS_MAX)


def _restarts(pod: Object) -> int:
    statuses = (pod.get("status") or {}).get("containerStatuses") or ()
    return max((int(status.get("restartCount") or 0) for status in statuses), default=0)


def _was_ready(pod: Object) -> bool:
    conditions = (pod.get("status") or {}).get("conditions") or ()
    return any(condition["type"] == "Ready" and condition["status"] == "True" for condition in conditions)
