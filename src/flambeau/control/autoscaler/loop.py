"""The autoscaler's hands: once a second read, every two seconds decide, write the wish into a PodAutoscaler.

The revision controller makes the pods; the two meet in the store. A request that waits at the gateway for a first replica wakes its
revision at once, without waiting for the next tick. A revision that nobody asks anything and nobody changes is decided once and left alone:
two hundred that sleep cost next to nothing.
"""

from __future__ import annotations

import asyncio
import logging
import os
from dataclasses import dataclass, field, replace
from pathlib import Path

from flambeau.control.autoscaler.collector import Collector, Load
from flambeau.control.autoscaler.decide import Decision, Memory, Observed, decide
from flambeau.control.autoscaler.elsewhere import Elsewhere, decided_elsewhere
from flambeau.control.autoscaler.settings import Scaling, scaling_of
from flambeau.control.autoscaler.window import Window
from flambeau.control.resources.conditions import get_condition, set_condition
from flambeau.control.resources.deployment import DEPLOYMENT
from flambeau.control.resources.horizontal_pod_autoscaler import HORIZONTAL_POD_AUTOSCALER
from flambeau.control.resources.inference_service import INFERENCE_SERVICE
from flambeau.control.resources.kind import Key, Object
from flambeau.control.resources.lookup import find
from flambeau.control.resources.owners import controlled_by
from flambeau.control.resources.pod_autoscaler import POD_AUTOSCALER
from flambeau.control.resources.registry import KINDS
from flambeau.control.resources.revision import REVISION, deployment_of
from flambeau.control.store.interface import Store
from flambeau.control.store.mirror import Mirror
from flambeau.control.store.recorder import record_event
from flambeau.foundation.clock import Clock
from flambeau.foundation.errors import Conflict, FlambeauError, NotFound, Unavailable
from flambeau.foundation.tasks import TaskOwner

NAME = "autoscaler"
SAMPLE_SECONDS = 1.0
TICK_SAMPLES = 2
"""A decision after so many samples: Knative's tick of 2 s."""
REPLICAS_PER_CORE = 2
"""A revision that names no maximum gets at most so many per core: this is one machine."""
_NO_LOAD = Load(0.0, 0.0, 0)
_ROUTING_STATE_LABEL = "serving.knative.dev/routingState"
_RESERVE = "reserve"
_log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Scaled:
    """What is remembered of a revision between ticks."""

    uid: str
    scaling: Scaling
    window: Window
    memory: Memory
    wish: int
    since: float | None = None
    """Of the first sample."""
    waiting: int = field(default=0)
    settled: bool = False
    """Nothing was asked in the whole window, and deciding again comes to the same until something is asked or changes."""


class Autoscaler:
    """Wish for replicas.

    Args:
        store: where Revisions and PodAutoscalers are.
        home: the platform's directory; the gateway's admin socket is in ``home/gateway``.
        clock: for windows, ticks and what people read.
    """

    def __init__(self, store: Store, home: Path, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._collector = Collector(home / "gateway" / "admin.sock", clock)
        self._machine_max = REPLICAS_PER_CORE * (os.cpu_count() or 1)
        self._scaled: dict[Key, _Scaled] = {}
        self._revisions = Mirror(store, REVISION, clock, self._revision_changed)
        self._wishes = Mirror(store, POD_AUTOSCALER, clock, self._unsettle)
        self._services, self._horizontal, self._deployments = (
            Mirror(store, kind, clock, self._may_be_elsewhere) for kind in (INFERENCE_SERVICE, HORIZONTAL_POD_AUTOSCALER, DEPLOYMENT)
        )
        self._elsewhere: dict[tuple[str, str], Elsewhere] = {}
        self._elsewhere_stale = True
        self._deciding = asyncio.Lock()
        self._tasks = TaskOwner(NAME)

    async def start(self) -> None:
        """Begin."""
        self.follow()
        self._tasks.keep("ticks", self._run)
        self._tasks.keep("wakes", self._listen)

    def follow(self) -> None:
        """Begin to hear of what there is to be scaled."""
        for mirror in (self._services, self._horizontal, self._deployments, self._revisions, self._wishes):
            self._tasks.keep(f"follow {mirror.kind.id}", mirror.run)

    async def stop(self) -> None:
        """End; the wishes stay in the store."""
        await self._tasks.close()

    async def _run(self) -> None:
        sample = 0
        while True:
            await self._clock.sleep(SAMPLE_SECONDS)
            sample += 1
            try:
                await self.sample()
                if sample % TICK_SAMPLES == 0:
                    await self.tick()
            except FlambeauError as error:  # the next tick tries again
                _log.warning("cannot scale now: %s", error)

    def _unsettle(self, key: Key) -> None:
        scaled = self._scaled.get(Key(REVISION.id, key.namespace, key.name))  # a PodAutoscaler is called as its revision
        if scaled is not None:
            scaled.settled = False

    def _revision_changed(self, key: Key) -> None:
        self._unsettle(key)
        self._may_be_elsewhere(key)

    def _may_be_elsewhere(self, _: Key) -> None:
        self._elsewhere_stale = True

    async def _listen(self) -> None:
        async for backend in self._collector.wakes():
            namespace, _, name = backend.partition("/")
            try:
                await self.wake(Key(REVISION.id, namespace, name))
            except FlambeauError as error:
                _log.warning("cannot wake %s now: %s", backend, error)

    async def sample(self) -> None:
        """Take the gateway's numbers into the windows.

        Raises:
            Unavailable: the gateway does not tell.
        """
        loads = await self._collector.loads()
        now = self._clock.monotonic()
        for key, scaled in self._scaled.items():
            load = loads.get(f"{key.namespace}/{key.name}")
            if load is None:
                if scaled.since is None:
                    continue  # its first reading comes next; nothing measured is not nothing asked
                load = _NO_LOAD
            if scaled.settled and load == _NO_LOAD:
                continue  # a second without a record counts as nothing asked
            scaled.settled = False
            scaled.since = now if scaled.since is None else scaled.since
            scaled.window.record(now, load.rps if scaled.scaling.metric == "rps" else load.concurrency)
            scaled.waiting = load.waiting

    async def tick(self) -> None:
        """Decide about every revision that is to answer requests.

        Raises:
            FlambeauError: the store refused.
        """
        if self._elsewhere_stale:
            self._look_elsewhere()
        present: set[Key] = set()
        for key, revision in sorted(self._revisions.objects.items()):
            metadata = revision["metadata"]
            if metadata.get("deletionTimestamp") or (metadata.get("labels") or {}).get(_ROUTING_STATE_LABEL) == _RESERVE:
                continue
            present.add(key)
            scaled = self._scaled.get(key)
            if scaled is not None and scaled.settled:
                continue
            try:
                async with self._deciding:
                    await self._decide(key, revision)
            except FlambeauError:
                raise
            except Exception:  # one revision that nobody foresaw must not keep the others from being scaled
                _log.exception("cannot scale %s", key)
        for key in self._scaled.keys() - present:
            del self._scaled[key]

    def _look_elsewhere(self) -> None:
        """Take note of the revisions that are not scaled by their requests, and of what was decided about them."""
        revisions, services, autoscalers, deployments = (
            mirror.objects.values() for mirror in (self._revisions, self._services, self._horizontal, self._deployments)
        )
        found = decided_elsewhere(revisions, services, autoscalers, deployments)
        for namespace, name in found.keys() | self._elsewhere.keys():
            if found.get((namespace, name)) != self._elsewhere.get((namespace, name)):
                self._unsettle(Key(REVISION.id, namespace, name))
        self._elsewhere, self._elsewhere_stale = found, False

    async def wake(self, key: Key) -> None:
        """Decide about one revision for whose first replica a request waits.

        Raises:
            FlambeauError: the store refused.
        """
        try:
            revision = await self._store.get(key)
        except NotFound:
            return
        async with self._deciding:
            scaled = await self._remembered(key, revision)
            scaled.waiting = max(1, scaled.waiting)
            await self._decide(key, revision)

    async def _decide(self, key: Key, revision: Object) -> None:
        scaled = await self._remembered(key, revision)
        now = self._clock.monotonic()
        settings = scaled.scaling.settings
        ready = int(find(revision, "status", "actualReplicas") or 0)
        observed = Observed(
            ready,
            scaled.window.average(now, settings.stable_window_seconds),
            scaled.window.average(now, settings.panic_window_seconds),
            held=scaled.waiting if ready == 0 else 0,
        )
        decision = decide(observed, settings, scaled.memory, now)
        at_rest = _is_at_rest(observed, decision, scaled.memory)
        scaled.memory = decision.memory
        if (other := self._elsewhere.get((key.namespace, key.name))) is not None:
            wish = max(scaled.wish if other.wish is None else other.wish, settings.scale_min)
            if wish == 0 and (observed.held or observed.stable or not decision.memory.was_ready):
                why = "requests keep one" if observed.held or observed.stable else "the first was not ready yet"
                wish, other = 1, replace(other, reason=f"{other.reason} wishes for none: {why}")
            decision = replace(decision, wish=wish, reasons=(other.reason,))
        elif scaled.since is None or now - scaled.since < settings.stable_window_seconds:
            at_rest = at_rest and decision.wish >= scaled.wish
            decision = replace(decision, wish=max(decision.wish, scaled.wish))  # a window that has seen little takes nothing away
        scaled.settled = await self._write(revision, scaled, ready, decision) and at_rest

    async def _remembered(self, key: Key, revision: Object) -> _Scaled:
        """Return what is known of a revision; after a restart, what its PodAutoscaler says."""
        scaling = scaling_of(revision, self._machine_max)
        scaled = self._scaled.get(key)
        if scaled is None or scaled.uid != revision["metadata"]["uid"]:
            told = await self._told(key)
            was_ready = (get_condition(told or {}, "ScaleTargetInitialized") or {}).get("status") == "True"
            wish = find(told or {}, "status", "desiredScale")
            settings = scaling.settings
            first = int(wish) if wish is not None else max(settings.scale_min, settings.scale_initial)
            window = Window(settings.stable_window_seconds)
            scaled = self._scaled[key] = _Scaled(revision["metadata"]["uid"], scaling, window, Memory(was_ready=was_ready), first)
        scaled.scaling = scaling
        return scaled

    async def _told(self, key: Key) -> Object | None:
        try:
            return await self._store.get(Key(POD_AUTOSCALER.id, key.namespace, key.name))
        except NotFound:
            return None

    async def _write(self, revision: Object, scaled: _Scaled, ready: int, decision: Decision) -> bool:
        """Write what changed; an event tells a new wish with its numbers. Return whether the store says now what was decided."""
        told = await self._told(REVISION.key(revision))
        try:
            if told is None:
                told = await self._store.create(_pod_autoscaler(revision, scaled.scaling))
            status = _status(told, ready, decision, self._clock.wall())
            if status != told.get("status"):
                await self._store.update({**told, "status": status}, status=True)
        except (Conflict, NotFound):
            return False  # somebody was faster, or the revision has just gone: the next tick looks again
        before, scaled.wish = scaled.wish, decision.wish
        if decision.wish != before:
            await self._tell(revision, before, decision)
        return True

    async def _tell(self, revision: Object, before: int, decision: Decision) -> None:
        metadata = revision["metadata"]
        message = f"{metadata['name']}: {before} -> {decision.wish} replicas: {'; '.join(decision.reasons)}"
        _log.info(message)
        try:
            for owner in metadata.get("ownerReferences") or ():
                involved = await self._store.get(Key(KINDS.by_object(owner).id, metadata["namespace"], owner["name"]))
                reason = "ScaledUp" if decision.wish > before else "ScaledDown"
                await record_event(self._store, self._clock, involved, "Normal", reason, message, NAME)
        except (NotFound, Unavailable):
            return


def _is_at_rest(observed: Observed, decision: Decision, before: Memory) -> bool:
    """Tell whether time alone changes nothing about a decision: nothing was asked, and no panic or grace runs out."""
    after = decision.memory
    quiet = observed.stable == 0.0 and observed.panic == 0.0 and observed.held == 0
    return quiet and before == after and after.panic_since is None and (after.idle_since is None or decision.wish == 0)


def _pod_autoscaler(revision: Object, scaling: Scaling) -> Object:
    metadata = revision["metadata"]
    return {
        "apiVersion": POD_AUTOSCALER.api_version,
        "kind": POD_AUTOSCALER.kind,
        "metadata": {
            "name": metadata["name"],
            "namespace": metadata["namespace"],
            "labels": dict(metadata.get("labels") or {}),
            "annotations": {name: value for name, value in (metadata.get("annotations") or {}).items() if name.startswith("autoscaling.")},
            "ownerReferences": [controlled_by(revision)],
        },
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": deployment_of(revision)},
            "containerConcurrency": int((revision.get("spec") or {}).get("containerConcurrency") or 0),
            "reachability": "Reachable",
        },
        "status": {},
    }


def _status(told: Object, ready: int, decision: Decision, now: float) -> Object:
    """Return the status; the reasons are those of the last change of the wish, so that a tick without one writes nothing."""
    wish = decision.wish
    status: Object = dict(told.get("status") or {})
    conditions = [dict(condition) for condition in status.get("conditions") or ()]
    changed = status.get("desiredScale") != wish
    reasons = "; ".join(decision.reasons) if changed else (get_condition(told, "Active") or {}).get("message", "")
    if wish == 0:
        set_condition(conditions, "Active", "False", "NoTraffic", reasons, now)
    elif ready == 0:
        set_condition(conditions, "Active", "Unknown", "Queued", reasons, now)
    else:
        set_condition(conditions, "Active", "True", "", reasons, now)
    if decision.memory.was_ready:
        set_condition(conditions, "ScaleTargetInitialized", "True", "", "", now)
    active = get_condition({"status": {"conditions": conditions}}, "Active") or {}
    set_condition(conditions, "Ready", active["status"], active.get("reason", ""), "", now)
    return {**status, "desiredScale": wish, "actualScale": ready, "conditions": conditions}
