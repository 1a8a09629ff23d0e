"""Which objects a cluster would have for an InferenceService, and what they would say. Pure.

Nothing here acts on them: pods belong to their Revision. They carry the selectors by which ``kubectl logs deploy/X`` and
``kubectl port-forward svc/X`` find pods, and the status that ``kubectl rollout status`` waits for.
Source: specification 4.1 and 4.5.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from flambeau.control.controllers.hosts import CLUSTER_DOMAIN
from flambeau.control.controllers.names import (
    COMPONENT_LABEL,
    CONFIGURATION_LABEL,
    HASH_ANNOTATION,
    ROUTING_STATE_LABEL,
    SERVICE_LABEL,
    revision_number,
)
from flambeau.control.controllers.revision.desired import pod_for
from flambeau.control.resources.conditions import get_condition
from flambeau.control.resources.deployment import DEPLOYMENT, REPLICA_SET
from flambeau.control.resources.kind import Kind, Object
from flambeau.control.resources.knative_serving import CONFIGURATION, KNATIVE_SERVICE, ROUTE
from flambeau.control.resources.lookup import find
from flambeau.control.resources.pod_contract import DEFAULT_PORT
from flambeau.control.resources.service import SERVICE

REVISION_UID_LABEL = "serving.knative.dev/revisionUID"
_LOCAL_GATEWAY = f"knative-local-gateway.istio-system.{CLUSTER_DOMAIN}"
_ENTRY_COMPONENTS = ("transformer", "predictor")
"""The first that a service has is the one that its requests come to."""


@dataclass(frozen=True, slots=True)
class View:
    """An object to be, and those that it owns."""

    kind: Kind
    obj: Object
    """Without owner."""
    children: tuple[View, ...] = ()


def service_views(service: Object, revisions: Sequence[Object]) -> tuple[View, ...]:
    """Return what an InferenceService owns beside its revisions.

    Args:
        service: the InferenceService.
        revisions: those that it owns.
    """
    newest = _newest_by_component(revisions)
    entry = next((newest[component] for component in _ENTRY_COMPONENTS if component in newest), None)
    if entry is None:
        return ()
    views = [_component(service, component, revision) for component, revision in sorted(newest.items())]
    return (*views, View(SERVICE, _core_service(service["metadata"]["name"], entry, {"externalName": _LOCAL_GATEWAY})))


def revision_view(revision: Object) -> View:
    """Return a revision's Deployment, which owns its ReplicaSet."""
    pod, name = pod_for(revision), f"{revision['metadata']['name']}-deployment"
    digest = revision["metadata"]["annotations"][HASH_ANNOTATION][:10]
    template = {
        "metadata": {"labels": pod["metadata"]["labels"], "annotations": pod["metadata"]["annotations"]},
        "spec": pod["spec"],
    }
    selector = {"matchLabels": {REVISION_UID_LABEL: revision["metadata"]["uid"]}}
    wanted, ready = (int(find(revision, "status", field) or 0) for field in ("desiredReplicas", "actualReplicas"))
    counts = {"replicas": wanted, "readyReplicas": ready, "availableReplicas": ready}
    spec = {"replicas": wanted, "selector": selector, "template": template}
    replica_set = _object(REPLICA_SET, f"{name}-{digest}", pod, spec, counts)
    rolling = {"progressDeadlineSeconds": 600, "revisionHistoryLimit": 0, "strategy": {"type": "RollingUpdate"}}
    status = {**counts, "updatedReplicas": wanted, "unavailableReplicas": max(0, wanted - ready), "conditions": _rollout(revision)}
    return View(DEPLOYMENT, _object(DEPLOYMENT, name, pod, {**spec, **rolling}, status), (View(REPLICA_SET, replica_set),))


def _newest_by_component(revisions: Iterable[Object]) -> dict[str, Object]:
    ordered = sorted(revisions, key=lambda each: revision_number(each["metadata"]["name"]))
    return {each["metadata"]["labels"].get(COMPONENT_LABEL, "predictor"): each for each in ordered}


def _rollout(revision: Object) -> list[Object]:
    """Return a Deployment's conditions."""
    ready = get_condition(revision, "Ready") or {"status": "Unknown"}
    shared: Object = {field: ready[field] for field in ("lastTransitionTime", "message") if field in ready}
    is_ready = ready["status"] == "True"
    progress = "NewReplicaSetAvailable" if is_ready else "ReplicaSetUpdated"
    return [
        {
            "type": "Available",
            "status": "True" if is_ready else "False",
            "reason": "MinimumReplicasAvailable" if is_ready else "MinimumReplicasUnavailable",
            **shared,
        },
        {"type": "Progressing", "status": "True", "reason": progress, **shared},
    ]


def _component(service: Object, component: str, newest: Object) -> View:
    """Return a component's Knative Service with what it owns."""
    name = newest["metadata"]["labels"][CONFIGURATION_LABEL]
    told = find(service, "status", "components", component) or {}
    latest = {
        "latestCreatedRevisionName": told.get("latestCreatedRevision"),
        "latestReadyRevisionName": told.get("latestReadyRevision"),
    }
    traffic = told.get("traffic") or [{"latestRevision": True, "percent": 100}]
    reached = {"url": told.get("url"), "address": told.get("address"), "traffic": told.get("traffic")}
    configuration, route = f"{component.capitalize()}ConfigurationReady", f"{component.capitalize()}RouteReady"
    template = {"metadata": {"annotations": newest["metadata"]["annotations"]}, "spec": newest["spec"]}
    both = {"Ready": f"{component.capitalize()}Ready", "ConfigurationsReady": configuration, "RoutesReady": route}

    def knative(kind: Kind, spec: Object, status: Object, conditions: dict[str, str]) -> Object:
        told_status = {field: value for field, value in status.items() if value}
        return _object(kind, name, newest, spec, {**told_status, "conditions": _renamed(service, conditions)})

    children = (
        View(CONFIGURATION, knative(CONFIGURATION, {"template": template}, latest, {"Ready": configuration})),
        View(ROUTE, knative(ROUTE, {"traffic": traffic}, reached, {"Ready": route, "AllTrafficAssigned": route})),
        View(SERVICE, _core_service(name, newest, {})),
    )
    spec = {"template": template, "traffic": traffic}
    return View(KNATIVE_SERVICE, knative(KNATIVE_SERVICE, spec, latest | reached, both), children)


def _renamed(service: Object, names: dict[str, str]) -> list[Object]:
    """Return an InferenceService's conditions under the names that they have elsewhere."""
    found = {name: get_condition(service, told) for name, told in names.items()}
    return [{**condition, "type": name} for name, condition in sorted(found.items()) if condition is not None]


def _core_service(name: str, revision: Object, more: Object) -> Object:
    """Return a Service that selects a component's pods, whichever revision they are of."""
    labels = revision["metadata"]["labels"]
    ports = revision["spec"]["containers"][0].get("ports") or ()
    port = {"name": "http", "port": 80, "protocol": "TCP", "targetPort": ports[0]["containerPort"] if ports else DEFAULT_PORT}
    selector = {label: labels[label] for label in (SERVICE_LABEL, COMPONENT_LABEL) if label in labels}
    kind = "ExternalName" if more else "ClusterIP"
    return _object(SERVICE, name, revision, {"type": kind, "ports": [port], "selector": selector, **more}, {"loadBalancer": {}})


def _object(kind: Kind, name: str, like: Object, spec: Object, status: Object) -> Object:
    """Return an object with the labels of another one."""
    labels = {label: value for label, value in like["metadata"]["labels"].items() if label != ROUTING_STATE_LABEL}
    return {
        "apiVersion": kind.api_version,
        "kind": kind.kind,
        "metadata": {"name": name, "labels": labels},
        "spec": spec,
        "status": status,
    }
