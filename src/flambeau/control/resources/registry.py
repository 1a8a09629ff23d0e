"""All kinds there are, and how to find one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from flambeau.control.resources.cluster_only import CLUSTER_ONLY
from flambeau.control.resources.cluster_storage_container import CLUSTER_STORAGE_CONTAINER
from flambeau.control.resources.config_map import CONFIG_MAP
from flambeau.control.resources.custom_resource_definition import CUSTOM_RESOURCE_DEFINITION
from flambeau.control.resources.deployment import DEPLOYMENT, REPLICA_SET
from flambeau.control.resources.event import EVENT
from flambeau.control.resources.horizontal_pod_autoscaler import HORIZONTAL_POD_AUTOSCALER
from flambeau.control.resources.http_route import HTTP_ROUTE
from flambeau.control.resources.inference_graph import INFERENCE_GRAPH
from flambeau.control.resources.inference_service import INFERENCE_SERVICE
from flambeau.control.resources.istio_gateway import ISTIO_GATEWAY
from flambeau.control.resources.kind import Kind
from flambeau.control.resources.knative_serving import CONFIGURATION, KNATIVE_SERVICE, ROUTE
from flambeau.control.resources.namespace import NAMESPACE
from flambeau.control.resources.node import NODE
from flambeau.control.resources.persistent_volume_claim import PERSISTENT_VOLUME_CLAIM
from flambeau.control.resources.pod import POD
from flambeau.control.resources.pod_autoscaler import POD_AUTOSCALER
from flambeau.control.resources.revision import REVISION
from flambeau.control.resources.secret import SECRET
from flambeau.control.resources.service import SERVICE
from flambeau.control.resources.service_account import SERVICE_ACCOUNT
from flambeau.control.resources.serving_runtime import CLUSTER_SERVING_RUNTIME, SERVING_RUNTIME
from flambeau.control.resources.trained_model import TRAINED_MODEL
from flambeau.control.resources.virtual_service import VIRTUAL_SERVICE
from flambeau.foundation.errors import InvalidInput, NotFound


class Registry:
    """Find a kind by its id, its address in the API, or an object of it.

    Args:
        kinds: every kind; the order is that of ``kubectl api-resources`` before its own sorting.
    """

    def __init__(self, kinds: Iterable[Kind]) -> None:
        self._kinds = tuple(kinds)
        self._by_id = {kind.id: kind for kind in self._kinds}
        self._by_api = {(kind.group, version, kind.plural): kind for kind in self._kinds for version in kind.versions}
        self._by_type = {(_api_version(kind.group, version), kind.kind): kind for kind in self._kinds for version in kind.versions}

    def all(self) -> tuple[Kind, ...]:
        """Return every kind."""
        return self._kinds

    def by_id(self, id: str) -> Kind:
        """Return the kind with an id such as ``inferenceservices.serving.kserve.io``.

        Raises:
            NotFound: there is none.
        """
        try:
            return self._by_id[id]
        except KeyError:
            raise NotFound(f"there is no kind {id}", hint=f"there are {', '.join(self._by_id)}") from None

    def by_api(self, group: str, version: str, plural: str) -> Kind:
        """Return the kind that a path of the API names.

        Args:
            group: empty for the core group.
            version: one of the served ones.
            plural: as in the path, ``pods``.

        Raises:
            NotFound: there is none.
        """
        try:
            return self._by_api[group, version, plural]
        except KeyError:
            place = f"{group}/{version}" if group else version
            raise NotFound(f"the server has no {plural} in {place}", hint="kubectl api-resources lists what there is") from None

    def by_object(self, obj: Mapping[str, Any]) -> Kind:
        """Return the kind an object says it is.

        Raises:
            InvalidInput: apiVersion or kind is missing, or there is no such kind.
        """
        api_version, kind = obj.get("apiVersion"), obj.get("kind")
        if not isinstance(api_version, str) or not isinstance(kind, str) or not api_version or not kind:
            raise InvalidInput("the object says no apiVersion or kind", hint="start it with apiVersion: and kind:")
        try:
            return self._by_type[api_version, kind]
        except KeyError:
            served = [f"{version} {name}" for version, name in self._by_type if name.lower() == kind.lower()]
            hint = f"did you mean {' or '.join(served)}?" if served else "kubectl api-resources lists what there is"
            raise InvalidInput(f"no matches for kind {kind} in version {api_version}", hint=hint) from None


def _api_version(group: str, version: str) -> str:
    return f"{group}/{version}" if group else version


KINDS = Registry(
    (
        NAMESPACE,
        NODE,
        POD,
        SECRET,
        SERVICE_ACCOUNT,
        CONFIG_MAP,
        PERSISTENT_VOLUME_CLAIM,
        SERVICE,
        EVENT,
        DEPLOYMENT,
        REPLICA_SET,
        INFERENCE_SERVICE,
        SERVING_RUNTIME,
        CLUSTER_SERVING_RUNTIME,
        CLUSTER_STORAGE_CONTAINER,
        INFERENCE_GRAPH,
        TRAINED_MODEL,
        KNATIVE_SERVICE,
        CONFIGURATION,
        ROUTE,
        REVISION,
        POD_AUTOSCALER,
        HORIZONTAL_POD_AUTOSCALER,
        VIRTUAL_SERVICE,
        HTTP_ROUTE,
        ISTIO_GATEWAY,
        CUSTOM_RESOURCE_DEFINITION,
        *CLUSTER_ONLY,
    )
)
