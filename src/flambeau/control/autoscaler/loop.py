"""The autoscaler's hands: once a second read, every two seconds decide, write the wish into a PodAutoscaler.

The revision controller makes the pods; the two meet in the store. A request that waits at the gateway for a first replica wakes its
revision at once, without waiting for the next tick.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Sequence
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
from flambeau.control.resources.revision import REVISION
from flambeau.control.resources.scaler_class import scaler_of
from flambeau.control.store.interface import Store
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
        self._elsewhere: dict[tuple[str, str], Elsewhere] = {}
        self._deciding = asyncio.Lock()
        self._tasks = TaskOwner(NAME)

    async def start(self) -> None:
        """Begin."""
        self._tasks.start("ticks", self._run())
        self._tasks.start("wakes", self._listen())

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
                load = Load(0.0, 0.0, 0)
            scaled.since = now if scaled.since is None else scaled.since
            scaled.window.record(now, load.rps if scaled.scaling.metric == "rps" else load.concurrency)
            scaled.waiting = load.waiting

    async def tick(self) -> None:
        """Decide about every revision that is to answer requests.

        Raises:
            FlambeauError: the store refused.
        """
        listing = await self._store.list(REVISION.id)
        await self._look_elsewhere(listing.items)
        present: set[Key] = set()
        for revision in listing.items:
            metadata = revision["metadata"]
            if metadata.get("deletionTimestamp") or (metadata.get("labels") or {}).get(_ROUTING_STATE_LABEL) == _RESERVE:
                continue
            key = REVISION.key(revision)
            present.add(key)
            async with self._deciding:
                await self._decide(key, revision)
        for key in self._scaled.keys() - present:
            del self._scaled[key]

    async def _look_elsewhere(self, revisions: Sequence[Object]) -> None:
        """Take note of the revisions that are not scaled by their requests, and of what was decided about them."""
        services = (await self._store.list(INFERENCE_SERVICE.id)).items
        autoscalers = (await self._store.list(HORIZONTAL_POD_AUTOSCALER.id)).items
        needs_scales = any(scaler_of(service) == "external" for service in services)
        deployments = (await self._store.list(DEPLOYMENT.id)).items if needs_scales else ()
        self._elsewhere = decided_elsewhere(revisions, services, autoscalers, deployments)

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
        scaled.memory = decision.memory
        if (other := self._elsewhere.get((key.namespace, key.name))) is not None:
            wish = scaled.wish if other.wish is None else other.wish
            await self._write(revision, scaled, max(wish, settings.scale_min), ready, replace(decision, wish=wish, reasons=(other.reason,)))
            return
        young = scaled.since is None or now - scaled.since < settings.stable_window_seconds
        wish = max(decision.wish, scaled.wish) if young else decision.wish  # a window that has seen little takes nothing away
        await self._write(revision, scaled, wish, ready, decision)

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

    async def _write(self, revision: Object, scaled: _Scaled, wish: int, ready: int, decision: Decision) -> None:
        """Write what changed; an event tells a new wish with its numbers."""
        told = await self._told(REVISION.key(revision))
        try:
            if told is None:
                told = await self._store.create(_pod_autoscaler(revision, scaled.scaling))
            status = _status(told, wish, ready, decision, self._clock.wall())
            if status != told.get("status"):
                await self._store.update({**told, "status": status}, status=True)
        except (Conflict, NotFound):
            return  # somebody was faster, or the revision has just gone: the next tick looks again
        before, scaled.wish = scaled.wish, wish
        if wish != before:
            await self._tell(revision, before, wish, decision)

    async def _tell(self, revision: Object, before: int, wish: int, decision: Decision) -> None:
        metadata = revision["metadata"]
        message = f"{metadata['name']}: {before} -> {wish} replicas: {'; '.join(decision.reasons)}"
        _log.info(message)
        try:
            for owner in metadata.get("ownerReferences") or ():
                involved = await self._store.get(Key(KINDS.by_object(owner).id, metadata["namespace"], owner["name"]))
                reason = "ScaledUp" if wish > before else "ScaledDown"
                await record_event(self._store, self._clock, involved, "Normal", reason, message, NAME)
        except (NotFound, Unavailable):
            return


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
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": f"{metadata['name']}-deployment"},
            "containerConcurrency": int((revision.get("spec") or {}).get("containerConcurrency") or 0),
            "reachability": "Reachable",
        },
        "status": {},
    }


def _status(told: Object, wish: int, ready: int, decision: Decision, now: float) -> Object:
    """Return the status; the reasons are those of the last change of the wish, so that a tick without one writes nothing."""
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
