"""Make what an InferenceGraph says so: find its services, keep its router's revisions, tell how it stands."""

from __future__ import annotations

from collections.abc import Iterable

from flambeau.control.controllers.adoption import adopt_revisions
from flambeau.control.controllers.hosts import Site
from flambeau.control.controllers.inference_graph.desired import Plan, plan
from flambeau.control.controllers.inference_graph.status import View, graph_status
from flambeau.control.controllers.inference_graph.template import (
    GRAPH_LABEL,
    Configuration,
    configuration_of,
    runtime_name,
    services_of,
    template_for,
)
from flambeau.control.controllers.loop import Controller, Source, itself, owner
from flambeau.control.controllers.names import GRAPHS, REVISIONS, SERVICES
from flambeau.control.controllers.site import site_now
from flambeau.control.controllers.turns import Turns
from flambeau.control.resources.conditions import get_condition
from flambeau.control.resources.kind import Key, Object
from flambeau.control.store.interface import Event, Store
from flambeau.control.store.recorder import record_event
from flambeau.foundation.clock import Clock
from flambeau.foundation.errors import Conflict, NotFound

NAME = "inferencegraph-controller"
_CONFIGURATION = Key("configmaps", "kserve", "inferenceservice-config")
_RUNTIME_KINDS = ("clusterservingruntimes.serving.kserve.io", "servingruntimes.serving.kserve.io")


class InferenceGraphReconciler:
    """Hold what reconciling needs.

    Args:
        store: where everything is.
        clock: for conditions and events.
        site: for URLs.
        gateway: the URL at which routers ask names inside the cluster.
    """

    def __init__(self, store: Store, clock: Clock, site: Site, gateway: str) -> None:
        self._store = store
        self._clock = clock
        self._site = site
        self._gateway = gateway
        self._known: set[Key] = set()

    def controller(self, turns: Turns) -> Controller:
        """Return the controller that keeps all InferenceGraphs."""
        sources = (
            itself(GRAPHS),
            owner(REVISIONS, "InferenceGraph", GRAPHS),
            Source(SERVICES, self._of_namespace),
            Source(_CONFIGURATION.kind, self._of_configuration),
        )
        return Controller(NAME, self._store, self._clock, sources, self.reconcile, turns)

    def _of_namespace(self, event: Event) -> Iterable[Key]:
        return [key for key in self._known if key.namespace == event.object["metadata"]["namespace"]]

    def _of_configuration(self, event: Event) -> Iterable[Key]:
        metadata = event.object["metadata"]
        is_ours = (metadata["namespace"], metadata["name"]) == (_CONFIGURATION.namespace, _CONFIGURATION.name)
        return tuple(self._known) if is_ours else ()

    async def reconcile(self, key: Key) -> None:
        """Bring one InferenceGraph closer to what it says.

        Raises:
            FlambeauError: the store refused; everything can be done again.
        """
        try:
            graph = await self._store.get(key)
        except NotFound:
            self._known.discard(key)
            return
        self._known.add(key)
        if graph["metadata"].get("deletionTimestamp"):
            return
        around = (await self._store.list(SERVICES, key.namespace)).items
        services = services_of(graph, around, await self._runtimes(around))
        template = None if services.missing else template_for(graph, services, await self._configuration(), self._gateway)
        revisions = await self._revisions(graph)
        wanted = plan(graph, template, revisions)
        if wanted.create is not None:
            revisions = [*revisions, await self._store.create(wanted.create)]
        is_taken = any(each["metadata"]["name"] == key.name for each in around)
        await self._write_status(View(graph, wanted, revisions, services, is_taken))
        await self._delete(key.namespace, wanted)

    async def _runtimes(self, services: Iterable[Object]) -> dict[str, Object]:
        """Return the runtimes in use, by name; a namespace's own wins over the cluster's."""
        wanted = {runtime_name(service) for service in services}
        listings = [await self._store.list(kind) for kind in _RUNTIME_KINDS]
        found = [runtime for listing in listings for runtime in listing.items]
        return {runtime["metadata"]["name"]: runtime for runtime in found if runtime["metadata"]["name"] in wanted}

    async def _configuration(self) -> Configuration:
        try:
            return configuration_of(await self._store.get(_CONFIGURATION))
        except NotFound:
            return configuration_of(None)

    async def _revisions(self, graph: Object) -> list[Object]:
        listing = await self._store.list(REVISIONS, graph["metadata"]["namespace"])
        uid = graph["metadata"]["uid"]
        owned = [each for each in listing.items if any(owner["uid"] == uid for owner in each["metadata"].get("ownerReferences") or ())]
        return owned or await adopt_revisions(self._store, graph, GRAPH_LABEL)

    async def _delete(self, namespace: str, wanted: Plan) -> None:
        """Delete what is too old: only now, or its pods would go before the status sends requests elsewhere."""
        for name in wanted.delete:
            try:
                await self._store.delete(Key(REVISIONS, namespace, name))
            except (NotFound, Conflict):
                continue

    async def _write_status(self, view: View) -> None:
        """Write the status if it differs; a lost race is tried again from the start, by the queue.

        Raises:
            Conflict: somebody else wrote meanwhile.
        """
        status = graph_status(view, await site_now(self._store, self._site), self._clock.wall())
        if status == view.graph.get("status"):
            return
        await self._store.update({**view.graph, "status": status}, status=True)
        was, now = get_condition(view.graph, "Ready") or {}, get_condition({"status": status}, "Ready") or {}
        name = view.graph["metadata"]["name"]
        if now.get("status") == "True" != was.get("status"):
            await record_event(
                self._store, self._clock, view.graph, "Normal", "InferenceGraphReady", f"InferenceGraph {name} is ready", NAME
            )
        elif now.get("status") == "False" and now.get("message") != was.get("message"):
            await record_event(self._store, self._clock, view.graph, "Warning", "InferenceGraphNotReady", str(now.get("message")), NAME)
