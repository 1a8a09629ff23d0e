"""The agent: every Pod in the store becomes a process on this machine, and every process here belongs to a Pod."""

from __future__ import annotations

import asyncio
import logging
from functools import partial
from pathlib import Path

from flambeau.control.agent.addresses import Addresses
from flambeau.control.agent.claims import Claims
from flambeau.control.agent.commands import PodCommands
from flambeau.control.agent.directory import PodDirectory, PodId, directories
from flambeau.control.agent.fetching import release_abandoned
from flambeau.control.agent.logs import PodLogs
from flambeau.control.agent.machine import KILL_SECONDS_MAX
from flambeau.control.agent.node import register
from flambeau.control.agent.pod_runner import SHUTDOWN_GRACE_SECONDS, PodRunner, Surroundings
from flambeau.control.agent.process import end_strangers
from flambeau.control.agent.trained_models import TrainedModels
from flambeau.control.agent.usage import PodUsage
from flambeau.control.resources.kind import Object
from flambeau.control.store.follow import follow
from flambeau.control.store.interface import Change, Event, Store
from flambeau.foundation.clock import Clock
from flambeau.foundation.tasks import TaskOwner
from flambeau.storage.cache import Cache
from flambeau.storage.configuration import CONFIG_NAMESPACE

FETCHES_PARALLEL_MAX = 4
_DEFECT_PAUSE_SECONDS = 5.0
"""Before a pod whose runner failed by a defect gets a new one."""
_STOP_SECONDS_MAX = SHUTDOWN_GRACE_SECONDS + 2 * KILL_SECONDS_MAX + 5.0
_log = logging.getLogger(__name__)


class Agent:
    """Run pods.

    Args:
        store: where Pods, ServiceAccounts and Secrets are.
        home: the platform's directory; pods live in ``home/pods``.
        cache: of models.
        clock: for back-off, deadlines and what people read.
    """

    def __init__(self, store: Store, home: Path, cache: Cache, clock: Clock) -> None:
        self._pods = home / "pods"
        self._trained_models = TrainedModels(store, self._pods, cache, clock)
        fetches = asyncio.Semaphore(FETCHES_PARALLEL_MAX)
        self._around = Surroundings(store, cache, clock, Addresses(home), fetches, self._trained_models.held_back)
        self._claims = Claims(store, home, clock)
        self._runners: dict[PodId, PodRunner] = {}
        self._runs: dict[PodId, asyncio.Task[None]] = {}
        self._pod_tasks = TaskOwner("agent pods")
        self._watches = TaskOwner("agent")
        self.logs = PodLogs(home, clock)
        self.commands = PodCommands(home)
        self.usage = PodUsage(home, clock)

    async def start(self) -> None:
        """Adopt the processes that an earlier agent left, stop those that belong to no pod, and take up the work.

        Raises:
            Unavailable: the store can't be read.
        """
        self._pods.mkdir(parents=True, exist_ok=True, mode=0o700)
        listing = await self._around.store.list("pods")
        pods = {PodId.of(pod): pod for pod in listing.items}
        left = {directory.id: directory for directory in directories(self._pods)}
        alive = {id: living for id, directory in left.items() if id in pods and (living := directory.living())}
        for id in alive:
            self._take_on(pods[id])
        tokens = {record.token for living in alive.values() for record in living.values()}
        for pid in await asyncio.to_thread(end_strangers, self._pods, tokens):
            _log.warning("stopped process %d, which belonged to a pod that is no more", pid)
        for id in left.keys() - pods.keys():
            await asyncio.to_thread(left[id].remove)
        await asyncio.to_thread(release_abandoned, self._around.cache, [id.uid for id in pods])
        await asyncio.to_thread(self._trained_models.release_abandoned, [id.uid for id in pods])
        await register(self._around.store, self._around.clock)
        self._watches.keep("pods", self._follow_pods)
        self._watches.keep("claims", self._claims.run)
        self._watches.start("trained models", self._trained_models.run())
        self._watches.keep("serviceaccounts", partial(self._follow_inputs, "serviceaccounts"))
        self._watches.keep("secrets", partial(self._follow_inputs, "secrets"))
        self._watches.keep("configmaps", partial(self._follow_inputs, "configmaps"))

    async def stop(self, kill_pods: bool) -> None:
        """Stop working.

        Args:
            kill_pods: stop the pods' processes too, gracefully; the Pods stay in the store and are started again by the next agent.
                Without it the processes go on, to be adopted by the next agent.
        """
        await self._watches.close()
        if kill_pods:
            for runner in self._runners.values():
                runner.shut_down()
            if self._runs:
                await asyncio.wait(self._runs.values(), timeout=_STOP_SECONDS_MAX)
        await self._pod_tasks.close()
        if kill_pods:
            for pid in await asyncio.to_thread(end_strangers, self._pods, ()):
                _log.warning("stopped process %d, which its pod's runner had lost", pid)

    def _take_on(self, pod: Object) -> None:
        id = PodId.of(pod)
        runner = PodRunner(pod, PodDirectory(self._pods, id), self._around)
        self._runners[id] = runner
        self._runs[id] = self._pod_tasks.start(str(id), self._run(id, runner))

    async def _run(self, id: PodId, runner: PodRunner) -> None:
        """Run a pod to its end; a defect in its runner costs a pause, not the pod."""
        while True:
            try:
                await runner.run()
                break
            except Exception:
                _log.exception("the runner of pod %s failed by a defect; a new one starts in %.0f s", id, _DEFECT_PAUSE_SECONDS)
                await self._around.clock.sleep(_DEFECT_PAUSE_SECONDS)
                runner = self._runners[id] = PodRunner(runner.pod, PodDirectory(self._pods, id), self._around)
        del self._runners[id], self._runs[id]

    async def _follow_pods(self) -> None:
        async for event in follow(self._around.store, "pods", clock=self._around.clock):
            try:
                self._note_pod(event)
            except Exception:  # one pod that nobody foresaw must not keep the others from being run
                _log.exception("cannot take on pod %s", PodId.of(event.object))

    def _note_pod(self, event: Event) -> None:
        runner = self._runners.get(PodId.of(event.object))
        if event.change is Change.DELETED:
            if runner is not None:
                runner.vanish()
        elif runner is not None:
            runner.observe(event.object)
        else:
            self._take_on(event.object)

    async def _follow_inputs(self, kind: str) -> None:
        async for event in follow(self._around.store, kind, clock=self._around.clock):
            namespace = event.object["metadata"]["namespace"]
            for id, runner in self._runners.items():
                if namespace in (id.namespace, CONFIG_NAMESPACE):
                    runner.inputs_changed()
