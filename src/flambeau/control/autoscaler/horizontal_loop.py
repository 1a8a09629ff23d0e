"""The hands of HorizontalPodAutoscalers: measure pods, decide, write each autoscaler's status.

They wish in their status; ``loop`` makes the wish the revision's. Autoscalers of InferenceServices are made and kept here; those that
people write for a Deployment count as well, and before what the InferenceService says.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from flambeau.control.autoscaler.horizontal import Decision, Measured, Memory, Settings, changed, decide
from flambeau.control.autoscaler.horizontal_spec import (
    autoscaler_for,
    autoscaler_name,
    external_triggers,
    failure_reason,
    settings_of,
    status_of,
)
from flambeau.control.autoscaler.prometheus import authorization, measure
from flambeau.control.resources.conditions import get_condition
from flambeau.control.resources.horizontal_pod_autoscaler import HORIZONTAL_POD_AUTOSCALER
from flambeau.control.resources.inference_service import INFERENCE_SERVICE
from flambeau.control.resources.kind import Key, Object
from flambeau.control.resources.lookup import find, mappings_at
from flambeau.control.resources.pod_contract import PROXY_CONTAINER
from flambeau.control.resources.quantity import amount
from flambeau.control.resources.revision import CONFIGURATION_LABEL, GENERATION_LABEL, REVISION, deployment_of
from flambeau.control.resources.scaler_class import scaler_of
from flambeau.control.resources.secret import SECRET
from flambeau.control.store.interface import Store
from flambeau.control.store.recorder import record_event
from flambeau.foundation.clock import Clock
from flambeau.foundation.errors import Conflict, FlambeauError, NotFound
from flambeau.foundation.tasks import TaskOwner
from flambeau.foundation.timestamps import rfc3339

NAME = "horizontal-pod-autoscaler"
TICK_SECONDS = 15.0
"""Between two decisions, as in Kubernetes."""
_SERVICE_LABEL = "serving.kserve.io/inferenceservice"
_COMPONENT_LABEL = "component"
_ROUTING_STATE_LABEL = "serving.knative.dev/routingState"
_REVISION_UID_LABEL = "serving.knative.dev/revisionUID"
_RESOURCES = ("cpu", "memory")
ASKED_AT_ONCE_MAX = 16
"""Autoscalers whose triggers are asked at the same time."""
_Name = tuple[str, str]
"""Namespace and name."""
Rates = dict[_Name, tuple[float, int]]
"""Cores and bytes of memory that pods use."""
_log = logging.getLogger(__name__)


class Usage(Protocol):
    """Who measures pods: the agent, handed over by the program that runs both."""

    async def read(self, pods: Collection[_Name]) -> dict[_Name, tuple[float, int]]:
        """Return processor seconds so far and bytes of memory by (namespace, name), for those that run."""
        ...


@dataclass(slots=True)
class _Remembered:
    memory: Memory = field(default_factory=Memory)
    rescaled: str | None = None


class HorizontalScaler:
    """Keep HorizontalPodAutoscalers.

    Args:
        store: where they, Revisions and Pods are.
        usage: measures pods.
        clock: for ticks, rates and windows.
    """

    def __init__(self, store: Store, usage: Usage, clock: Clock) -> None:
        self._store = store
        self._usage = usage
        self._clock = clock
        self._remembered: dict[str, _Remembered] = {}
        self._asking = asyncio.Semaphore(ASKED_AT_ONCE_MAX)
        self._last: dict[_Name, tuple[float, float]] = {}
        """When each pod was read last, and its processor seconds then."""
        self._tasks = TaskOwner(NAME)

    async def start(self) -> None:
        """Begin."""
        self._tasks.keep("ticks", self._run)

    async def stop(self) -> None:
        """End; the wishes stay in the store."""
        await self._tasks.close()

    async def _run(self) -> None:
        while True:
            try:
                await self.tick()
            except FlambeauError as error:  # the next tick tries again
                _log.warning("cannot scale by what is measured now: %s", error)
            await self._clock.sleep(TICK_SECONDS)

    async def tick(self) -> None:
        """Make what InferenceServices ask for, decide about every autoscaler.

        Raises:
            FlambeauError: the store refused.
        """
        services = {INFERENCE_SERVICE.key(each): each for each in (await self._store.list(INFERENCE_SERVICE.id)).items}
        revisions = [each for each in (await self._store.list(REVISION.id)).items if _is_active(each)]
        stored = {HORIZONTAL_POD_AUTOSCALER.key(each): each for each in (await self._store.list(HORIZONTAL_POD_AUTOSCALER.id)).items}
        # Of a component in mode Standard, whose revisions share a Deployment, the newest counts.
        by_deployment = {(each["metadata"]["namespace"], deployment_of(each)): each for each in sorted(revisions, key=_number)}
        for revision in by_deployment.values():
            await self._keep(revision, services, stored)
        await self._remove_others(by_deployment, stored)
        autoscalers = (await self._store.list(HORIZONTAL_POD_AUTOSCALER.id)).items
        if autoscalers:
            pods = (await self._store.list("pods")).items
            rates = await self._read(pods)
            targets = [(each["metadata"]["namespace"], find(each, "spec", "scaleTargetRef", "name")) for each in autoscalers]
            pairs = [(each, by_deployment[target]) for each, target in zip(autoscalers, targets, strict=True) if target in by_deployment]
            outside = await asyncio.gather(*(self._outside(autoscaler, _part_of(revision, services)) for autoscaler, revision in pairs))
            for (autoscaler, revision), told in zip(pairs, outside, strict=True):
                await self._decide_safely(autoscaler, revision, _pods_of(revision, pods), rates, told)
        present = {each["metadata"]["uid"] for each in autoscalers}
        self._remembered = {uid: each for uid, each in self._remembered.items() if uid in present}

    async def _keep(self, revision: Object, services: dict[Key, Object], there: dict[Key, Object]) -> None:
        """Make, change or remove the autoscaler of a revision as its InferenceService says."""
        metadata = revision["metadata"]
        service = _service_of(revision, services)
        key = Key(HORIZONTAL_POD_AUTOSCALER.id, metadata["namespace"], autoscaler_name(revision))
        stored = there.get(key)
        part = _part_of(revision, services)
        try:
            if service is None or part is None or scaler_of(service) != "hpa":
                if stored is not None and stored["metadata"].get("ownerReferences"):
                    await self._store.delete(key, uid=stored["metadata"]["uid"])
                return
            wanted = autoscaler_for(service, part, revision)
            if stored is None:
                await self._store.create(wanted)
            elif stored["metadata"].get("ownerReferences"):
                if stored["spec"] != wanted["spec"]:
                    await self._store.update({**stored, "spec": wanted["spec"]})
            elif CONFIGURATION_LABEL in (stored["metadata"].get("labels") or {}):  # one of ours, left by a service of this name
                await self._store.update({**wanted, "metadata": {**stored["metadata"], **wanted["metadata"]}})
        except (Conflict, NotFound):
            return  # somebody was faster, or the revision has just gone: the next tick looks again

    async def _remove_others(self, by_deployment: Collection[_Name], there: Mapping[Key, Object]) -> None:
        """Remove the autoscalers of components that are no more, or have no pods to be: nothing but their service owns them."""
        for key, each in there.items():
            owners = {reference["kind"] for reference in each["metadata"].get("ownerReferences") or ()}
            if INFERENCE_SERVICE.kind in owners and (key.namespace, key.name) not in by_deployment:
                with contextlib.suppress(Conflict, NotFound):
                    await self._store.delete(key, uid=each["metadata"]["uid"])

    async def _read(self, pods: Iterable[Object]) -> Rates:
        """Return cores, over the time since the last reading, and memory of each pod; a pod that is new is left out."""
        now = self._clock.monotonic()
        readings = await self._usage.read({_name(pod) for pod in pods})
        rates = {
            pod: (max(0.0, seconds - self._last[pod][1]) / (now - self._last[pod][0]), memory)
            for pod, (seconds, memory) in readings.items()
            if pod in self._last and now > self._last[pod][0]
        }
        self._last = {pod: (now, seconds) for pod, (seconds, _) in readings.items()}
        return rates

    async def _outside(self, autoscaler: Object, part: Object | None) -> dict[str, Measured | str]:
        """Return what an autoscaler's triggers say, or why they don't."""
        triggers = external_triggers(part or {})
        named = [find(each, "external", "metric", "name") for each in mappings_at(autoscaler, "spec", "metrics") if each.get("external")]
        async with self._asking:
            return {name: await self._told(triggers[name], autoscaler["metadata"]["namespace"]) for name in named if name in triggers}

    async def _told(self, trigger: Object, namespace: str) -> Measured | str:
        metric = trigger["metric"]
        secret = find(trigger, "authenticationRef", "authenticationRef", "name")
        try:
            headers = authorization(await self._store.get(Key(SECRET.id, namespace, secret))) if secret else ()
            return Measured(await measure(metric["serverAddress"], metric["query"], metric.get("namespace"), headers), 0.0)
        except FlambeauError as error:
            return str(error)

    async def _decide_safely(
        self, autoscaler: Object, revision: Object, pods: Iterable[Object], rates: Rates, outside: Mapping[str, Measured | str]
    ) -> None:
        try:
            settings = settings_of(autoscaler)
            measured = {**_measured(pods, rates, {metric.name for metric in settings.metrics}), **outside}
            await self._decide(autoscaler, revision, settings, measured)
        except FlambeauError:
            raise
        except Exception:  # one that nobody foresaw must not keep the others from being decided
            _log.exception("cannot scale %s", HORIZONTAL_POD_AUTOSCALER.key(autoscaler))

    async def _decide(self, autoscaler: Object, revision: Object, settings: Settings, measured: Mapping[str, Measured | str]) -> None:
        remembered = self._remembered.setdefault(autoscaler["metadata"]["uid"], _Remembered())
        current = int(find(revision, "status", "desiredReplicas") or settings.scale_min)
        now = self._clock.monotonic()
        decision = decide(current, measured, settings, remembered.memory, now)
        remembered.memory = changed(decision.memory, current, decision.wish, now)
        if decision.wish != current:
            remembered.rescaled = rfc3339(self._clock.wall())
        status = status_of(autoscaler, current, decision, measured, self._clock.wall(), rescaled=remembered.rescaled)
        if status == autoscaler.get("status"):
            return
        try:
            await self._store.update({**autoscaler, "status": status}, status=True)
        except (Conflict, NotFound):
            return
        await self._tell(autoscaler, current, decision, failure_reason(decision, measured))

    async def _tell(self, autoscaler: Object, current: int, decision: Decision, failure: str) -> None:
        reasons = "; ".join(decision.reasons)
        if decision.wish != current:
            message = f"New size: {decision.wish}; was {current}; reason: {reasons}"
            await record_event(self._store, self._clock, autoscaler, "Normal", "SuccessfulRescale", message, NAME)
        elif decision.failure and (get_condition(autoscaler, "ScalingActive") or {}).get("message") != decision.failure:
            await record_event(self._store, self._clock, autoscaler, "Warning", failure, decision.failure, NAME)


def _measured(pods: Iterable[Object], rates: Rates, resources: Collection[str]) -> dict[str, Measured]:
    """Return what the ready pods use, and request, on average."""
    counted = [pod for pod in pods if _name(pod) in rates and (get_condition(pod, "Ready") or {}).get("status") == "True"]
    if not counted:
        return {}
    return {
        resource: Measured(
            sum(rates[_name(pod)][_RESOURCES.index(resource)] for pod in counted) / len(counted),
            sum(_requested(pod, resource) for pod in counted) / len(counted),
        )
        for resource in resources
        if resource in _RESOURCES
    }


def _requested(pod: Object, resource: str) -> float:
    """Return what a pod's containers request; a limit counts as a request where there is none, as in Kubernetes."""
    total = 0.0
    for container in mappings_at(pod, "spec", "containers"):
        if container["name"] != PROXY_CONTAINER:
            said = find(container, "resources", "requests", resource) or find(container, "resources", "limits", resource)
            total += amount(said) or 0.0
    return total


def _service_of(revision: Object, services: Mapping[Key, Object]) -> Object | None:
    metadata = revision["metadata"]
    return services.get(Key(INFERENCE_SERVICE.id, metadata["namespace"], (metadata.get("labels") or {}).get(_SERVICE_LABEL, "")))


def _part_of(revision: Object, services: Mapping[Key, Object]) -> Object | None:
    """Return the spec of the component that a revision is of."""
    component = (revision["metadata"].get("labels") or {}).get(_COMPONENT_LABEL, "predictor")
    part = find(_service_of(revision, services) or {}, "spec", component)
    return part if isinstance(part, dict) else None


def _pods_of(revision: Object, pods: Iterable[Object]) -> list[Object]:
    uid = revision["metadata"]["uid"]
    return [pod for pod in pods if (pod["metadata"].get("labels") or {}).get(_REVISION_UID_LABEL) == uid]


def _number(revision: Object) -> int:
    return int((revision["metadata"].get("labels") or {}).get(GENERATION_LABEL) or 0)


def _is_active(revision: Object) -> bool:
    metadata = revision["metadata"]
    return not metadata.get("deletionTimestamp") and (metadata.get("labels") or {}).get(_ROUTING_STATE_LABEL) != "reserve"


def _name(pod: Object) -> _Name:
    return pod["metadata"]["namespace"], pod["metadata"]["name"]
