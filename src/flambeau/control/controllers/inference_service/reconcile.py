"""Make what an InferenceService says so: choose its runtime, keep its revisions, move its traffic, tell how it stands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from flambeau.control.controllers.adoption import adopt_revisions
from flambeau.control.controllers.hosts import Site, component_name
from flambeau.control.controllers.inference_service.desired import Plan, is_stopped, plan
from flambeau.control.controllers.inference_service.parts import PREDICTOR, Part, parts, revisions_of, stable_least
from flambeau.control.controllers.inference_service.status import STOPPED, PartView, Told, View, service_status
from flambeau.control.controllers.inference_service.template import template_for
from flambeau.control.controllers.ingress_config import INGRESS_CONFIG
from flambeau.control.controllers.loop import Controller, Source, itself, owner
from flambeau.control.controllers.names import (
    CORE_SERVICES,
    MIN_SCALE_ANNOTATION,
    PODS,
    REVISION_LABEL,
    REVISIONS,
    ROUTING_STATE_LABEL,
    SERVICE_LABEL,
    SERVICES,
    STOP_ANNOTATION,
)
from flambeau.control.controllers.site import is_of_ingress, site_now
from flambeau.control.controllers.turns import Turns
from flambeau.control.resources.conditions import get_condition
from flambeau.control.resources.events import EventType
from flambeau.control.resources.kind import Key, Object
from flambeau.control.resources.runtime_selection import Selection, select_runtime
from flambeau.control.store.interface import Event, Store, modify
from flambeau.control.store.recorder import record_event
from flambeau.foundation.clock import Clock
from flambeau.foundation.errors import Conflict, FlambeauError, NotFound

NAME = "inferenceservice-controller"
RUNTIMES = "servingruntimes.serving.kserve.io"
CLUSTER_RUNTIMES = "clusterservingruntimes.serving.kserve.io"
_HOST_LABEL_CHARS_MAX = 63


class InferenceServiceReconciler:
    """Hold what reconciling needs.

    Args:
        store: where everything is.
        clock: for conditions and events.
        site: for URLs.
    """

    def __init__(self, store: Store, clock: Clock, site: Site) -> None:
        self._store = store
        self._clock = clock
        self._site = site
        self._known: set[Key] = set()

    def controller(self, turns: Turns) -> Controller:
        """Return the controller that keeps all InferenceServices."""
        sources = (
            itself(SERVICES),
            owner(REVISIONS, "InferenceService", SERVICES),
            Source(PODS, _service_by_label),
            Source(CORE_SERVICES, _service_by_label),
            Source(RUNTIMES, self._all_known),
            Source(CLUSTER_RUNTIMES, self._all_known),
            Source(INGRESS_CONFIG.kind, lambda event: self._all_known(event) if is_of_ingress(event) else ()),
        )
        return Controller(NAME, self._store, self._clock, sources, self.reconcile, turns)

    def _all_known(self, _: Event) -> Sequence[Key]:
        """A runtime may concern every service: which one each uses is decided anew."""
        return tuple(self._known)

    async def reconcile(self, key: Key) -> None:
        """Bring one InferenceService closer to what it says.

        Raises:
            FlambeauError: the store refused; everything can be done again.
        """
        try:
            service = await self._store.get(key)
        except NotFound:
            self._known.discard(key)
            return
        self._known.add(key)
        if service["metadata"].get("deletionTimestamp"):
            return
        owned = await self._revisions(service)
        everyone = parts(service)
        pods = [pod for revision in owned for pod in await self._pods_of(revision)]
        views = [await self._keep_revision(service, part, revisions_of(part, everyone, owned), pods) for part in everyone]
        await self._write_status(View(service, views))
        # Only now: whoever loses its pods has lost its requests in a status that was written before.
        least = {views[0].plan.latest_created: str(stable_least(service, everyone))}
        for view in views:
            await self._set_states(view.revisions, view.plan, least)
        kept = {each["metadata"]["name"] for view in views for each in view.revisions}
        for revision in owned:
            if revision["metadata"]["name"] not in kept:
                await self._delete(revision)

    async def _keep_revision(self, service: Object, part: Part, revisions: list[Object], pods: Sequence[Object]) -> PartView:
        """Create the revision that a part should have, if there is none; return how the part stands."""
        selection, template, refusal = await self._template(service, part)
        wanted = plan(service, part, template, revisions)
        if wanted.create is not None:
            revisions = [*revisions, await self._create(service, wanted.create)]
        own = [pod for pod in pods if (pod["metadata"].get("labels") or {}).get(REVISION_LABEL) == wanted.latest_created]
        return PartView(part, wanted, revisions, own, selection, refusal)

    async def _template(self, service: Object, part: Part) -> tuple[Selection, Object | None, Told | None]:
        """Return (the choice of a runtime, template, None), or what of it there is and why there is no more."""
        metadata = service["metadata"]
        if len(part.base) > _HOST_LABEL_CHARS_MAX:
            message = f"the name {metadata['name']} is too long: {part.base} has {len(part.base)} characters, a host label at most 63"
            return Selection(None), None, Told("False", "InvalidName", message)
        if part.component != PREDICTOR and not await self._has_address(component_name(metadata["name"], PREDICTOR), metadata["namespace"]):
            why = f"the {part.component} waits for its predictor to get a cluster address"
            return Selection(None), None, Told("Unknown", "AddressPending", why)
        selection = Selection(None)
        if part.spec.get("model"):
            own = (await self._store.list(RUNTIMES, metadata["namespace"])).items
            clusters = (await self._store.list(CLUSTER_RUNTIMES)).items
            selection = select_runtime(part.spec["model"], own, clusters, service.get("status") or {})
            if selection.runtime is None:
                return selection, None, Told("False", selection.reason, selection.message)
        if is_stopped(service):
            return selection, None, Told("False", STOPPED, f"it is stopped: take the annotation {STOP_ANNOTATION} away to start it")
        try:
            return selection, template_for(service, part, selection.runtime), None
        except FlambeauError as error:
            return selection, None, Told("False", error.reason, str(error))

    async def _has_address(self, name: str, namespace: str) -> bool:
        """Tell whether a name leads somewhere: pods that are given it start only then."""
        try:
            await self._store.get(Key(CORE_SERVICES, namespace, name))
        except NotFound:
            return False
        return True

    async def _revisions(self, service: Object) -> list[Object]:
        metadata = service["metadata"]
        owned = list((await self._store.list(REVISIONS, metadata["namespace"], owner=metadata["uid"])).items)
        return owned or await adopt_revisions(self._store, service, SERVICE_LABEL)

    async def _pods_of(self, revision: Object) -> list[Object]:
        """Return a revision's pods that are not going."""
        metadata = revision["metadata"]
        listing = await self._store.list(PODS, metadata["namespace"], owner=metadata["uid"])
        return [pod for pod in listing.items if not pod["metadata"].get("deletionTimestamp")]

    async def _create(self, service: Object, revision: Object) -> Object:
        created = await self._store.create(revision)
        await self._tell(service, "Normal", "RevisionCreated", f"created revision {created['metadata']['name']}")
        return created

    async def _set_states(self, revisions: Sequence[Object], wanted: Plan, least: Mapping[str, str]) -> None:
        for revision in revisions:
            name, metadata = revision["metadata"]["name"], revision["metadata"]
            state = wanted.states.get(name)
            if name in wanted.delete:
                await self._delete(revision)
                continue
            labels = {ROUTING_STATE_LABEL: state} if state is not None else {}
            annotations = {MIN_SCALE_ANNOTATION: least[name]} if name in least else {}
            if not (labels.items() <= metadata["labels"].items() and annotations.items() <= metadata["annotations"].items()):
                await self._mark(revision, labels, annotations)

    async def _mark(self, revision: Object, labels: Mapping[str, str], annotations: Mapping[str, str]) -> None:
        def change(obj: Object) -> None:
            obj["metadata"]["labels"] |= labels
            obj["metadata"]["annotations"] |= annotations

        await modify(self._store, _key(revision), change)

    async def _delete(self, revision: Object) -> None:
        try:
            await self._store.delete(_key(revision), uid=revision["metadata"]["uid"])
        except (NotFound, Conflict):
            return

    async def _write_status(self, view: View) -> None:
        """Write the status if it differs; a lost race is tried again from the start, by the queue.

        Raises:
            Conflict: somebody else wrote meanwhile.
        """
        status = service_status(view, await site_now(self._store, self._site), self._clock.wall())
        old = view.service.get("status")
        if status == old:
            return
        await self._store.update({**view.service, "status": status}, status=True)
        await self._tell_transition(view, {"status": status})

    async def _tell_transition(self, view: View, new: Object) -> None:
        was, now = get_condition(view.service, "Ready") or {}, get_condition(new, "Ready") or {}
        if now["status"] == "True" != was.get("status"):
            await self._tell(
                view.service, "Normal", "InferenceServiceReady", f"InferenceService {view.service['metadata']['name']} is ready"
            )
        elif now["status"] != "True" == was.get("status") or (now["status"] == "False" and now.get("message") != was.get("message")):
            await self._tell(
                view.service, "Warning", "InferenceServiceNotReady", str(now.get("message") or now.get("reason") or "not ready")
            )

    async def _tell(self, service: Object, type: EventType, reason: str, message: str) -> None:
        await record_event(self._store, self._clock, service, type, reason, message, NAME)


def _service_by_label(event: Event) -> Sequence[Key]:
    metadata = event.object["metadata"]
    name = (metadata.get("labels") or {}).get(SERVICE_LABEL)
    return (Key(SERVICES, metadata["namespace"], name),) if name else ()


def _key(revision: Object) -> Key:
    return Key(REVISIONS, revision["metadata"]["namespace"], revision["metadata"]["name"])
