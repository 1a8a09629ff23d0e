"""Keep the views of InferenceServices, InferenceGraphs and Revisions true; their owners take them along when they go."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable

from flambeau.control.controllers.adoption import is_orphan
from flambeau.control.controllers.loop import Controller, itself, owner
from flambeau.control.controllers.names import CONFIGURATION_LABEL, GRAPHS, REVISIONS, SERVICES
from flambeau.control.controllers.turns import Turns
from flambeau.control.controllers.views.addresses import ADDRESSES, address_for
from flambeau.control.controllers.views.desired import Reach, graph_views, names_of, service_views
from flambeau.control.controllers.views.view import View
from flambeau.control.controllers.views.workloads import revision_view
from flambeau.control.resources.deployment import DEPLOYMENT, REPLICA_SET
from flambeau.control.resources.kind import Key, Kind, Object
from flambeau.control.resources.knative_serving import KNATIVE_SERVICE
from flambeau.control.resources.lookup import find
from flambeau.control.resources.owners import controlled_by
from flambeau.control.resources.revision import is_standard
from flambeau.control.resources.service import SERVICE
from flambeau.control.store.interface import Store
from flambeau.foundation.clock import Clock
from flambeau.foundation.errors import Conflict, NotFound

NAME = "view-controller"
_BY_VIEW = ("metadata", "spec")


class ViewReconciler:
    """Hold what reconciling needs.

    Args:
        store: where everything is.
        clock: for retries.
        gateway_port: on which the gateway listens.
    """

    def __init__(self, store: Store, clock: Clock, gateway_port: int) -> None:
        self._store = store
        self._clock = clock
        self._gateway_port = gateway_port
        self._naming = asyncio.Lock()
        """One service at a time is written, so that no address is given twice."""
        self._taken: set[str] = set()
        """Cluster addresses: those that Services had when they were all read last, and those given since."""

    def controller(self, turns: Turns) -> Controller:
        """Return the controller of all views."""
        sources = (
            itself(SERVICES),
            itself(REVISIONS),
            owner(REVISIONS, "InferenceService", SERVICES),
            itself(GRAPHS),
            owner(REVISIONS, "InferenceGraph", GRAPHS),
            owner(KNATIVE_SERVICE.id, "InferenceGraph", GRAPHS),
            owner(DEPLOYMENT.id, "Revision", REVISIONS),
            owner(DEPLOYMENT.id, "InferenceService", SERVICES),
            owner(KNATIVE_SERVICE.id, "InferenceService", SERVICES),
        )
        return Controller(NAME, self._store, self._clock, sources, self.reconcile, turns)

    async def reconcile(self, key: Key) -> None:
        """Bring the views of one InferenceService, InferenceGraph or Revision up to date.

        Raises:
            FlambeauError: the store refused; everything can be done again.
        """
        try:
            shown = await self._store.get(key)
        except NotFound:
            return
        if shown["metadata"].get("deletionTimestamp"):
            return
        if key.kind == REVISIONS:
            views: tuple[View, ...] = () if is_standard(shown) else (revision_view(shown),)
            await self._put_all(views, shown, DEPLOYMENT)
            return
        if key.kind == GRAPHS:
            await self._put_all(graph_views(shown, await self._owned(REVISIONS, shown)), shown)
            return
        async with self._naming:
            reach = Reach(await self._addresses(shown), self._gateway_port)
            views = service_views(shown, await self._owned(REVISIONS, shown), reach)
            await self._put_all(views, shown, KNATIVE_SERVICE, DEPLOYMENT)

    async def _addresses(self, service: Object) -> dict[str, str]:
        """Return the cluster address of each of a service's names: the one that it has, or a new one."""
        namespace, names = service["metadata"]["namespace"], names_of(service)
        found = {name: address for name in names if (address := await self._address(namespace, name))}
        if len(found) < len(names):
            if not 0 < len(self._taken) < ADDRESSES // 2:  # many of those may be free again
                self._taken = {str(find(each, "spec", "clusterIP")) for each in (await self._store.list(SERVICE.id)).items}
            for name in names:
                if name not in found:
                    found[name] = address_for(namespace, name, self._taken)
                    self._taken.add(found[name])
        return found

    async def _address(self, namespace: str, name: str) -> str:
        """Return the address that a Service has; empty where it has none, or isn't there."""
        try:
            return str(find(await self._store.get(Key(SERVICE.id, namespace, name)), "spec", "clusterIP") or "")
        except NotFound:
            return ""

    async def _owned(self, kind: str, owner_object: Object) -> list[Object]:
        metadata = owner_object["metadata"]
        return list((await self._store.list(kind, metadata["namespace"], owner=metadata["uid"])).items)

    async def _put_all(self, views: Iterable[View], owner_object: Object, *whole: Kind) -> None:
        """Write views; of the kinds in ``whole`` their owner then has no others: those of components that are no more go."""
        names: dict[str, set[str]] = {kind.id: set() for kind in whole}
        for view in views:
            await self._put(view, owner_object)
            names.get(view.kind.id, set()).add(view.obj["metadata"]["name"])
        for kind in whole:
            for each in await self._owned(kind.id, owner_object):
                if each["metadata"]["name"] not in names[kind.id]:
                    with contextlib.suppress(NotFound, Conflict):
                        await self._store.delete(kind.key(each), uid=each["metadata"]["uid"])

    async def _put(self, view: View, owner_object: Object) -> None:
        """Write a view and those it owns, where they differ; an object of that name that isn't ours stays as it is."""
        stored = await self._written(view.kind, view.obj, owner_object)
        if stored is None:
            return
        status = {**view.obj["status"], "observedGeneration": stored["metadata"].get("generation", 1)}
        if stored.get("status") != status:
            stored = await self._store.update({**stored, "status": status}, status=True)
        await self._put_all(view.children, stored, *((REPLICA_SET,) if view.kind is DEPLOYMENT else ()))

    async def _written(self, kind: Kind, obj: Object, owner_object: Object) -> Object | None:
        namespace = owner_object["metadata"]["namespace"]
        wanted = {**obj, "metadata": {**obj["metadata"], "namespace": namespace, "ownerReferences": [controlled_by(owner_object)]}}
        try:
            stored = await self._store.get(Key(kind.id, namespace, obj["metadata"]["name"]))
        except NotFound:
            return await self._store.create({**wanted, "status": {**obj["status"], "observedGeneration": 1}})
        is_ours = _is_owned(stored, owner_object) or _was_left(kind, stored)
        if not is_ours or stored["metadata"].get("deletionTimestamp"):
            return None
        # Annotations of others stay: a scale that somebody wrote is one.
        annotations = {**(stored["metadata"].get("annotations") or {}), **(obj["metadata"].get("annotations") or {})}
        wanted["metadata"] = {**stored["metadata"], **wanted["metadata"], **({"annotations": annotations} if annotations else {})}
        if all(stored.get(part) == wanted.get(part) for part in _BY_VIEW):
            return stored
        return await self._store.update(wanted)


def _is_owned(obj: Object, owner_object: Object) -> bool:
    uid = owner_object["metadata"]["uid"]
    return any(reference["uid"] == uid for reference in obj["metadata"].get("ownerReferences") or ())


def _was_left(kind: Kind, stored: Object) -> bool:
    """Tell whether an object is one of ours whose owner was deleted without it: a user's own Service has not our label."""
    return is_orphan(stored) and (kind.read_only or CONFIGURATION_LABEL in (stored["metadata"].get("labels") or {}))
