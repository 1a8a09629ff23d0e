"""Make what TrainedModels say so: list them for the agent, by InferenceService, and tell how each stands."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from flambeau.control.controllers.hosts import Site
from flambeau.control.controllers.inference_service.traffic import from_status
from flambeau.control.controllers.loop import Controller, Source, itself
from flambeau.control.controllers.names import COMPONENT_LABEL, PODS, REVISION_LABEL, REVISIONS, SERVICE_LABEL, SERVICES
from flambeau.control.controllers.site import site_now
from flambeau.control.controllers.trained_model.desired import Judged, judge, wanted_of
from flambeau.control.controllers.trained_model.status import model_status
from flambeau.control.controllers.turns import Turns
from flambeau.control.resources.conditions import get_condition
from flambeau.control.resources.kind import Key, Object
from flambeau.control.resources.lookup import mapping_at, mappings_at
from flambeau.control.resources.owners import controlled_by
from flambeau.control.resources.trained_models import config_data, config_name
from flambeau.control.store.interface import Event, Store
from flambeau.control.store.recorder import record_event
from flambeau.foundation.clock import Clock
from flambeau.foundation.errors import NotFound

NAME = "trainedmodel-controller"
MODELS = "trainedmodels.serving.kserve.io"
_CONFIG_MAPS = "configmaps"
_RUNTIME_KINDS = {"servingRuntimeName": "servingruntimes", "clusterServingRuntimeName": "clusterservingruntimes"}


class TrainedModelReconciler:
    """Hold what reconciling needs; the key is the InferenceService, whose models share its memory.

    Args:
        store: where everything is.
        clock: for conditions and events.
        site: for URLs.
    """

    def __init__(self, store: Store, clock: Clock, site: Site) -> None:
        self._store = store
        self._clock = clock
        self._site = site

    def controller(self, turns: Turns) -> Controller:
        """Return the controller that keeps all TrainedModels."""
        sources = (Source(MODELS, _services_of_model), itself(SERVICES), Source(PODS, _service_of_pod))
        return Controller(NAME, self._store, self._clock, sources, self.reconcile, turns)

    async def reconcile(self, key: Key) -> None:
        """Bring the TrainedModels of one InferenceService closer to what they say.

        Raises:
            FlambeauError: the store refused; everything can be done again.
        """
        listed = (await self._store.list(MODELS, key.namespace)).items
        models = [each for each in listed if each["spec"]["inferenceService"] == key.name and not each["metadata"].get("deletionTimestamp")]
        service = await self._get(key)
        if service is not None and service["metadata"].get("deletionTimestamp"):
            service = None
        judged = judge(models, service, await self._runtime(service), await self._server(service))
        if service is not None:
            await self._write_config(service, judged)
        pods = await self._pods(service) if models else []
        for each in judged:
            await self._write_status(each, pods)

    async def _get(self, key: Key) -> Object | None:
        try:
            return await self._store.get(key)
        except NotFound:
            return None

    async def _runtime(self, service: Object | None) -> Object | None:
        status = mapping_at(service or {}, "status")
        for field, plural in _RUNTIME_KINDS.items():
            if service is not None and status.get(field):
                namespace = service["metadata"]["namespace"] if field == "servingRuntimeName" else ""
                return await self._get(Key(f"{plural}.serving.kserve.io", namespace, str(status[field])))
        return None

    async def _server(self, service: Object | None) -> Object | None:
        """Return the container that serves, of the newest revision of the predictor."""
        if service is None:
            return None
        name = mapping_at(service, "status", "components", "predictor").get("latestCreatedRevision")
        revision = await self._get(Key(REVISIONS, service["metadata"]["namespace"], str(name))) if name else None
        containers = mappings_at(revision or {}, "spec", "containers")
        return containers[0] if containers else None

    async def _pods(self, service: Object | None) -> list[Object]:
        if service is None:
            return []
        traffic = mappings_at(service, "status", "components", "predictor", "traffic")
        revisions = {target.revision for target in from_status(traffic) if target.percent > 0}
        listing = await self._store.list(PODS, service["metadata"]["namespace"])
        return [
            pod
            for pod in listing.items
            if (pod["metadata"].get("labels") or {}).get(REVISION_LABEL) in revisions and not pod["metadata"].get("deletionTimestamp")
        ]

    async def _write_config(self, service: Object, judged: Sequence[Judged]) -> None:
        """Write the ConfigMap that the agent loads by; none is made for a service without such models."""
        metadata = service["metadata"]
        key = Key(_CONFIG_MAPS, metadata["namespace"], config_name(metadata["name"]))
        old, data = await self._get(key), config_data(wanted_of(judged))
        if old is None:
            if judged:
                owners = [controlled_by(service)]
                named = {"name": key.name, "namespace": key.namespace, "ownerReferences": owners}
                await self._store.create({"apiVersion": "v1", "kind": "ConfigMap", "metadata": named, "data": data})
        elif old.get("data") != data:
            await self._store.update({**old, "data": data})

    async def _write_status(self, judged: Judged, pods: Sequence[Object]) -> None:
        """Write a model's status if it differs.

        Raises:
            Conflict: somebody else wrote meanwhile.
        """
        model = judged.model
        status = model_status(judged, pods, await site_now(self._store, self._site), self._clock.wall())
        if status == model.get("status"):
            return
        await self._store.update({**model, "status": status}, status=True)
        was, now = get_condition(model, "Ready") or {}, get_condition({"status": status}, "Ready") or {}
        if now.get("status") == "True" != was.get("status"):
            message = f"TrainedModel {model['metadata']['name']} is ready"
            await record_event(self._store, self._clock, model, "Normal", "TrainedModelReady", message, NAME)
        elif now.get("status") == "False" and now.get("message") != was.get("message"):
            await record_event(self._store, self._clock, model, "Warning", str(now["reason"]), str(now.get("message")), NAME)


def _services_of_model(event: Event) -> Iterable[Key]:
    """A model concerns the service that it names, and the one that it named before."""
    for state in (event.object, event.previous):
        if state is not None:
            yield Key(SERVICES, state["metadata"]["namespace"], state["spec"]["inferenceService"])


def _service_of_pod(event: Event) -> Iterable[Key]:
    metadata = event.object["metadata"]
    labels = metadata.get("labels") or {}
    if SERVICE_LABEL in labels and labels.get(COMPONENT_LABEL) == "predictor":
        yield Key(SERVICES, metadata["namespace"], labels[SERVICE_LABEL])
