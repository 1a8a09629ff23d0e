"""The hands of a pod: its init containers, its address, its containers' runners, its status and its end."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace

from flambeau.control.agent import launching, logs, machine
from flambeau.control.agent.addresses import Addresses
from flambeau.control.agent.container_runner import MESSAGE_LINES, ContainerRunner, Tools
from flambeau.control.agent.directory import Notes, PodDirectory, PodId
from flambeau.control.agent.fetching import fetch_models, release
from flambeau.control.agent.machine import Exit, Happening, Phase, State, Tell
from flambeau.control.agent.process import Leader, describe
from flambeau.control.agent.status import Facts, is_asked, model_source, pod_status, process_containers, server_container, sidecars
from flambeau.control.resources.kind import Key, Object
from flambeau.control.resources.lookup import find
from flambeau.control.resources.pod_contract import AGENT_FINALIZER, GATEWAY_FINALIZER, INITIALIZER_CONTAINER, is_sidecar
from flambeau.control.resources.pod_ports import http_port
from flambeau.control.store.interface import Store, modify
from flambeau.control.store.recorder import record_event
from flambeau.foundation.clock import Clock
from flambeau.foundation.errors import FlambeauError, NotFound, Unavailable
from flambeau.foundation.tasks import TaskOwner
from flambeau.foundation.timestamps import parse_rfc3339
from flambeau.storage.cache import Cache

COMPONENT = "flambeau-agent"
GRACE_SECONDS = 30.0
"""Where a pod names no terminationGracePeriodSeconds."""
GRACE_SECONDS_MAX = 600.0
SHUTDOWN_GRACE_SECONDS = 15.0
"""For pods that are stopped with the platform, however long their own grace is."""
PUBLISH_PAUSE_SECONDS = 0.5
"""Between two writes of a status in the same phase: progress is news, but not that urgent."""
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
    held_back: Callable[[PodId], str]
    """Why a pod whose server answers is not to be shown ready yet; empty where nothing is in the way."""


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
        self._tasks = TaskOwner(f"pod {self._id}", self._task_failed)
        tools = Tools(directory, around.store, around.clock, self._tasks)
        self._server = server_container(pod)["name"]
        self._containers = {
            container["name"]: ContainerRunner(container, self._first_state(container), self, tools)
            for container in process_containers(pod)
        }
        self._sidecars = tuple(str(container["name"]) for container in sidecars(pod))
        self._is_prepared = False
        self._progress = ""
        self._inits: dict[str, float | Exit] = {}
        self._shown: tuple[tuple[Phase, ...], float] | None = None
        """Phases of the containers when they were last shown, and when."""
        self._shown_states: dict[str, State] = {}
        self._has_news = False
        self._shutdown = False

    def _first_state(self, container: Object) -> State:
        is_server = container["name"] == self._server
        return machine.initial(
            self._around.clock.monotonic(),
            source=model_source(self._pod) if is_server else "",
            prepares=is_server and bool(self._pod["spec"].get("initContainers")),
            restart_policy="Always" if is_sidecar(container) else self._pod["spec"].get("restartPolicy") or "Always",
            ended=_ended_before(self._pod, container["name"], self._around.clock),
            restarts=_restarts(self._pod, container["name"]),
        )

    @property
    def pod(self) -> Object:
        """Return the newest state of the pod that is known."""
        return self._pod

    @property
    def grace_seconds(self) -> float:
        """Return how long the pod's processes may take to stop."""
        grace = _grace(self._pod)
        return min(grace, SHUTDOWN_GRACE_SECONDS) if self._shutdown else grace

    def held_back(self, container: str) -> str:
        """Return why a container that answers is not to be shown ready yet; empty where nothing is in the way."""
        return self._around.held_back(self._id) if container == self._server else ""

    def observe(self, pod: Object) -> None:
        """Take note of the pod's newest state in the store; a deletion is acted on."""
        self._pod = {**pod, "status": self._pod.get("status")}  # ours is the newest status: nobody else writes it
        metadata = pod["metadata"]
        if metadata.get("deletionTimestamp"):
            self._put(machine.Deleted(self.grace_seconds))
            if GATEWAY_FINALIZER not in (metadata.get("finalizers") or ()):
                self._put(machine.Dropped())

    def vanish(self) -> None:
        """Stop: the pod is not in the store any more."""
        self._put(machine.Deleted(self.grace_seconds))
        self._put(machine.Dropped())

    def inputs_changed(self) -> None:
        """Try again at once what failed for want of a ServiceAccount or Secret."""
        self._put(machine.InputsChanged())

    def shut_down(self) -> None:
        """Stop the processes, but leave the pod in the store, for the next start."""
        self._shutdown = True
        self.vanish()

    def _put(self, event: Happening) -> None:
        """Tell the containers; the end is told to sidecars only when the others have ended."""
        ends = isinstance(event, machine.Deleted | machine.Dropped)
        for name, container in self._containers.items():
            if not (ends and name in self._sidecars):
                container.put(event)

    async def run(self) -> None:
        """Run the pod until it is gone; processes of an earlier agent are adopted where they still live.

        Cancel: the processes go on; a later agent adopts them.
        """
        try:
            self.observe(self._pod)
            await self._begin()
            runs = {name: self._tasks.start(f"{name}/run", container.run()) for name, container in self._containers.items()}
            self._tasks.start("retirement", self._retire_sidecars())
            await _ended([run for name, run in runs.items() if name not in self._sidecars], runs.values())
            for name in reversed(self._sidecars):
                self._containers[name].put(machine.Deleted(self.grace_seconds))
                self._containers[name].put(machine.Dropped())
                await _ended([runs[name]], runs.values())
            await self._clean()
            await self.show()
        finally:
            await self._tasks.close()

    async def _retire_sidecars(self) -> None:
        """End the sidecars once the other containers have ended for good, the last one first; a pod of a server never comes so far."""
        for name, container in self._containers.items():
            if name not in self._sidecars:
                await container.ended.wait()
        for name in reversed(self._sidecars):
            self._containers[name].put(machine.Retired(self.grace_seconds))
            await self._containers[name].ended.wait()

    async def _begin(self) -> None:
        self._directory.create()
        noted = self._directory.notes()
        was_ready = _was_ready(self._pod)
        if noted is not None:
            self._notes = noted
            self._around.addresses.reserve(noted.address)
            for name, container in self._containers.items():
                container.is_ours = name in noted.ours
                await container.take_up(was_ready=was_ready)
        else:
            self._directory.end_unknown()
        server = self._containers[self._server]
        if server.state.phase is Phase.PENDING and not self._pod["metadata"].get("deletionTimestamp"):
            server.put(machine.Begun())
            self._tasks.start("scheduled", self.tell(Tell("Normal", "Scheduled", "this machine runs the pod")))

    # What the containers ask for

    def address(self) -> str:
        """Return the pod's address, taking one when it is first needed.

        Raises:
            Unavailable: none is free.
        """
        if not self._notes.address:
            ports = {http_port(container) for container in process_containers(self._pod) if is_asked(self._pod, container)}
            self._notes = replace(self._notes, address=self._around.addresses.take(tuple(sorted(ports))))
        return self._notes.address

    def note_ours(self, container: str, *, ours: bool) -> None:
        """Write down whether a container is our own server."""
        others = [name for name in self._notes.ours if name != container]
        self._notes = replace(self._notes, ours=tuple(sorted([*others, container] if ours else others)))
        self._directory.write_notes(self._notes)

    def prepared(self) -> None:
        """Take note that the init containers are done: the other containers may begin."""
        if self._is_prepared:
            return
        self._is_prepared = True
        for name, container in self._containers.items():
            is_left = self._directory.record(name) is not None  # it will be taken up, or has been
            if container.state.phase is Phase.PENDING and not is_left:
                container.put(machine.Begun())

    async def prepare(self) -> str:
        """Do what the init containers do, one after the other; return a sentence about the model, if one was fetched.

        Raises:
            FlambeauError: one of them failed.
        """
        self._progress, self._inits, summary = "", {}, ""
        for container in self._pod["spec"].get("initContainers") or ():
            if container["name"] == INITIALIZER_CONTAINER:
                summary = await self._fetch()
            elif is_sidecar(container):
                await self._begin_sidecar(self._containers[container["name"]])
            else:
                await self._run_init(container)
        return summary

    async def _fetch(self) -> str:
        around = self._around
        async with around.fetches:
            summary = await fetch_models(
                self._pod,
                self._directory,
                store=around.store,
                cache=around.cache,
                clock=around.clock,
                tell=self._note_progress,
            )
        self._progress = ""
        return summary

    async def _begin_sidecar(self, sidecar: ContainerRunner) -> None:
        """Start what is to live beside the containers, and wait until it has started; what has started already goes on."""
        self._note_progress(f"starting {sidecar.name}")
        if sidecar.state.phase is Phase.PENDING:
            sidecar.put(machine.Begun())
        await sidecar.started.wait()

    async def _run_init(self, container: Object) -> None:
        """Run an init container that is a command to its end.

        Raises:
            FlambeauError: it can't be started, or it ended with another status than 0.

        Cancel: it is killed.
        """
        name, clock = container["name"], self._around.clock
        self._note_progress(name)
        started = clock.monotonic()
        self._inits[name] = started
        if (left := self._directory.record(name)) is not None:
            left.signal(signal.SIGKILL)  # an earlier agent was killed meanwhile
        plan = await launching.plan(self._pod, container, self._directory, self.address(), self._around.store)
        child, record = launching.start(plan, self._directory)
        leader = Leader(record, child)
        try:
            ending = await leader.ended()
        except asyncio.CancelledError:
            leader.kill()
            raise
        finally:
            self._directory.forget_record(name)
        words = self._directory.last_words(name) or logs.last_lines(logs.log_path(self._directory.path, name), MESSAGE_LINES)
        message = f"init container {name} {describe(ending)}" + (f": {words}" if words else ", and its log is empty")
        failed = ending.code != 0
        self._inits[name] = Exit(
            ending.code, ending.signal, "Error" if failed else "Completed", message if failed else "", started, clock.monotonic()
        )
        if failed:
            raise Unavailable(message, reason="InitContainerFailed")

    def _note_progress(self, words: str) -> None:
        self._progress = words
        self._has_news = True

    def _task_failed(self, name: str, error: BaseException) -> None:
        container, _, task = name.partition("/")[2].partition("/")[2].rpartition("/")
        if container in self._containers:
            self._containers[container].task_failed(task, error)

    # The end

    async def _clean(self) -> None:
        around = self._around
        if self._notes.address:
            around.addresses.release(self._notes.address)
        if self._shutdown:
            self._notes, self._has_news = Notes(""), True
            return
        if model_source(self._pod):
            await asyncio.to_thread(release, around.cache, self._id.uid)
        await asyncio.to_thread(self._directory.remove)
        await _remove_finalizers(around.store, self._id)

    # What others see

    async def tell(self, tell: Tell) -> None:
        """Write an event about the pod."""
        try:
            await record_event(self._around.store, self._around.clock, self._pod, tell.type, tell.reason, tell.message, COMPONENT)
        except FlambeauError as error:
            _log.warning("cannot write an event about pod %s: %s", self._id, error)

    def seconds_until_shown(self) -> float | None:
        """Return in how many seconds there is something to show; None: there is not."""
        if self._shown is None or not self._is_news():
            return None
        return max(0.0, self._shown[1] + PUBLISH_PAUSE_SECONDS - self._around.clock.monotonic())

    async def show(self, *, at_once: bool = False) -> None:
        """Write the containers' states into the pod's status: at once where one has a new phase, other news not too often."""
        if not self._is_news():
            return
        due = self._shown is None or self._shown[0] != self._phases() or not self.seconds_until_shown()
        if at_once or due:
            await self._publish()

    def _states(self) -> dict[str, State]:
        return {name: container.state for name, container in self._containers.items()}

    def _phases(self) -> tuple[Phase, ...]:
        return tuple(container.state.phase for container in self._containers.values())

    def _is_news(self) -> bool:
        if self._shown is None and all(phase in (Phase.PENDING, Phase.ENDED) for phase in self._phases()):
            return False
        return self._has_news or self._shown_states != self._states()

    async def _publish(self) -> None:
        clock, states = self._around.clock, self._states()
        self._shown, self._shown_states, self._has_news = (self._phases(), clock.monotonic()), states, False
        if all(phase is Phase.GONE for phase in self._phases()) and not self._shutdown:
            return
        wall = clock.wall()
        facts = Facts(self._notes.address, self._progress, wall - clock.monotonic(), dict(self._inits))
        shown = {**self._pod, "status": pod_status(self._pod, states, facts, wall)}
        shown["metadata"] = {name: value for name, value in self._pod["metadata"].items() if name != "resourceVersion"}
        try:
            self._pod = await self._around.store.update(shown, status=True)
        except NotFound:
            self.vanish()
        except FlambeauError as error:
            self._has_news = True
            _log.warning("cannot write the status of pod %s, trying again: %s", self._id, error)


async def _ended(some: Collection[asyncio.Task[None]], everyone: Collection[asyncio.Task[None]]) -> None:
    """Wait until some have ended; a failure of anyone is raised meanwhile."""
    left = set(everyone)
    while not all(each.done() for each in some):
        done, left = await asyncio.wait(left, return_when=asyncio.FIRST_COMPLETED)
        for each in done:
            each.result()


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


def _restarts(pod: Object, container: str) -> int:
    status = pod.get("status") or {}
    statuses = (*(status.get("containerStatuses") or ()), *(status.get("initContainerStatuses") or ()))
    return next((int(status.get("restartCount") or 0) for status in statuses if status["name"] == container), 0)


def _ended_before(pod: Object, container: str, clock: Clock) -> Exit | None:
    """Return how a container ended for good, as an earlier agent wrote it into the status; None where it did not."""
    status = pod.get("status") or {}
    statuses = (*(status.get("containerStatuses") or ()), *(status.get("initContainerStatuses") or ()))
    told = next((find(each, "state", "terminated") for each in statuses if each["name"] == container), None)
    if not told:
        return None
    started, finished = (parse_rfc3339(told[name]) - clock.wall() + clock.monotonic() for name in ("startedAt", "finishedAt"))
    signal_number = told.get("signal")
    code = None if signal_number else int(told["exitCode"])
    return Exit(code, signal_number, told["reason"], told.get("message", ""), started, finished)


def _was_ready(pod: Object) -> bool:
    conditions = (pod.get("status") or {}).get("conditions") or ()
    return any(condition["type"] == "Ready" and condition["status"] == "True" for condition in conditions)
