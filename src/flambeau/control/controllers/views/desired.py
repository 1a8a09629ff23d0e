"""Which objects a cluster would have for an InferenceService or an InferenceGraph, and what they would say. Pure.

Nothing here acts on them: pods belong to their Revision. They carry the selectors by which ``kubectl logs deploy/X`` and
``kubectl port-forward svc/X`` find pods, and the status that ``kubectl rollout status`` waits for.
Source: specification 4.1 and 4.5.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from flambeau.control.controllers.hosts import CLUSTER_DOMAIN, component_name
from flambeau.control.controllers.inference_service.parts import PREDICTOR, Part, memory, parts
from flambeau.control.controllers.inference_service.status import INGRESS_READY, route_condition
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
from flambeau.control.resources.lookup import find, mappings_at
from flambeau.control.resources.pod_ports import entry_container, http_port
from flambeau.control.resources.service import SERVICE

REVISION_UID_LABEL = "serving.knative.dev/revisionUID"
ROLLOUT_ANNOTATION = "deployment.kubernetes.io/revision"
"""The number that ``kubectl rollout history`` shows."""
_LOCAL_GATEWAY = f"knative-local-gateway.istio-system.{CLUSTER_DOMAIN}"


@dataclass(frozen=True, slots=True)
class View:
    """An object to be, and those that it owns."""

    kind: Kind
    obj: Object
    """Without owner."""
    children: tuple[View, ...] = ()


@dataclass(frozen=True, slots=True)
class Reach:
    """How names are reached."""

    addresses: Mapping[str, str]
    """Name of a Service -> cluster address."""
    port: int
    """On which the gateway listens there."""


def names_of(service: Object) -> tuple[str, ...]:
    """Return the names of the Services that an InferenceService has."""
    name = service["metadata"]["name"]
    return tuple(dict.fromkeys((name, component_name(name, PREDICTOR), *(part.base for part in parts(service)))))


def service_views(service: Object, revisions: Sequence[Object], reach: Reach) -> tuple[View, ...]:
    """Return what an InferenceService owns beside its revisions.

    Args:
        service: the InferenceService.
        revisions: those that it owns.
        reach: how its names are reached.
    """
    newest = _newest_by_base(revisions)
    shown = {part.base: (part, newest[part.base]) for part in parts(service) if part.base in newest}
    predictors = [revision for part, revision in shown.values() if part.component == PREDICTOR]
    entry = next((revision for part, revision in shown.values() if part.component == "transformer"), None) or next(iter(predictors), None)
    if entry is None:
        return ()
    name = service["metadata"]["name"]
    views = [_component(service, part, revision, reach) for part, revision in shown.values()]
    views.append(View(SERVICE, _core_service(name, entry, reach, {"externalName": _LOCAL_GATEWAY})))
    shared = component_name(name, PREDICTOR)
    if shared not in shown and predictors:
        views.append(View(SERVICE, _core_service(shared, predictors[0], reach, {})))  # a predictor with a variant's name
    return tuple(views)


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
    deployment = _object(DEPLOYMENT, name, pod, {**spec, **rolling}, status)
    for obj in (deployment, replica_set):
        obj["metadata"]["annotations"] = {ROLLOUT_ANNOTATION: "1"}  # a new template is a new revision, with a Deployment of its own
    return View(DEPLOYMENT, deployment, (View(REPLICA_SET, replica_set),))


def _newest_by_base(revisions: Iterable[Object]) -> dict[str, Object]:
    ordered = sorted(revisions, key=lambda each: revision_number(each["metadata"]["name"]))
    return {each["metadata"]["labels"][CONFIGURATION_LABEL]: each for each in ordered}


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


def _component(service: Object, part: Part, newest: Object, reach: Reach) -> View:
    """Return a part's Knative Service with what it owns."""
    word = part.component.capitalize()
    conditions = (f"{word}Ready", f"{word}ConfigurationReady", route_condition(part.component))
    view = _knative_service(service, part.base, newest, memory(service, part), conditions)
    return replace(view, children=(*view.children, View(SERVICE, _core_service(part.base, newest, reach, {}))))


def graph_views(graph: Object, revisions: Sequence[Object]) -> tuple[View, ...]:
    """Return what an InferenceGraph owns beside its router's revisions.

    Args:
        graph: the InferenceGraph.
        revisions: those that it owns.
    """
    if not revisions:
        return ()
    name, status = graph["metadata"]["name"], graph.get("status") or {}
    newest = max(revisions, key=lambda each: revision_number(each["metadata"]["name"]))
    ready = next((target["revisionName"] for target in mappings_at(status, "traffic")), None)
    told = {**status, "latestCreatedRevision": status.get("latestCreatedRevisionName"), "latestReadyRevision": ready}
    return (_knative_service(graph, name, newest, told, ("Ready", "ConfigurationsReady", INGRESS_READY)),)


def _knative_service(owner: Object, name: str, newest: Object, told: Mapping[str, Any], conditions: tuple[str, str, str]) -> View:
    """Return a Knative Service with its Configuration and its Route.

    Args:
        owner: whose conditions it shows.
        name: its own.
        newest: revision.
        told: how its owner's status describes it.
        conditions: the owner's, about all of it, its configuration and its route.
    """
    latest = {
        "latestCreatedRevisionName": told.get("latestCreatedRevision"),
        "latestReadyRevisionName": told.get("latestReadyRevision"),
    }
    traffic = told.get("traffic") or [{"latestRevision": True, "percent": 100}]
    reached = {"url": told.get("url"), "address": told.get("address"), "traffic": told.get("traffic")}
    ready, configuration, route = conditions
    template = {"metadata": {"annotations": newest["metadata"]["annotations"]}, "spec": newest["spec"]}

    def knative(kind: Kind, spec: Object, status: Object, names: dict[str, str]) -> Object:
        told_status = {field: value for field, value in status.items() if value}
        return _object(kind, name, newest, spec, {**told_status, "conditions": _renamed(owner, names)})

    children = (
        View(CONFIGURATION, knative(CONFIGURATION, {"template": template}, latest, {"Ready": configuration})),
        View(ROUTE, knative(ROUTE, {"traffic": traffic}, reached, {"Ready": route, "AllTrafficAssigned": route})),
    )
    spec, both = {"template": template, "traffic": traffic}, {"Ready": ready, "ConfigurationsReady": configuration, "RoutesReady": route}
    return View(KNATIVE_SERVICE, knative(KNATIVE_SERVICE, spec, latest | reached, both), children)


def _renamed(owner: Object, names: dict[str, str]) -> list[Object]:
    """Return an owner's conditions under the names that they have elsewhere."""
    found = {name: get_condition(owner, told) for name, told in names.items()}
    return [{**condition, "type": name} for name, condition in sorted(found.items()) if condition is not None]


def _core_service(name: str, revision: Object, reach: Reach, more: Object) -> Object:
    """Return a Service that selects a component's pods, whichever revision they are of.

    Its cluster address is the gateway's, on the gateway's port, since ports below 1024 are not everybody's: the nodePort says which.
    """
    labels = revision["metadata"]["labels"]
    target = http_port(entry_container(revision["spec"]["containers"]))
    port = {"name": "http", "port": 80, "protocol": "TCP", "targetPort": target, "nodePort": reach.port}
    more = {**more, "clusterIP": reach.addresses[name]}
    selector = {label: labels[label] for label in (SERVICE_LABEL, COMPONENT_LABEL) if label in labels}
    kind = "ExternalName" if "externalName" in more else "ClusterIP"
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
