"""Which objects a cluster would have for an InferenceService or an InferenceGraph, and what they would say. Pure.

Nothing here acts on them: pods belong to their Revision. They carry the selectors by which ``kubectl logs deploy/X`` and
``kubectl port-forward svc/X`` find pods, and the status that ``kubectl rollout status`` waits for.
In mode Knative a component is a Knative Service, in mode Standard a Deployment. Source: specification 4.1, 4.5 and 4.8.
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
    SERVICE_LABEL,
    revision_number,
)
from flambeau.control.controllers.views.view import View, view_object
from flambeau.control.controllers.views.workloads import component_view
from flambeau.control.resources.conditions import get_condition
from flambeau.control.resources.inference_service_check import deployment_mode
from flambeau.control.resources.kind import Kind, Object
from flambeau.control.resources.knative_serving import CONFIGURATION, KNATIVE_SERVICE, ROUTE
from flambeau.control.resources.lookup import mappings_at
from flambeau.control.resources.pod_ports import entry_container, http_port
from flambeau.control.resources.service import SERVICE

_LOCAL_GATEWAY = f"knative-local-gateway.istio-system.{CLUSTER_DOMAIN}"


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
    by_base = _by_base(revisions)
    shown = {part.base: (part, by_base[part.base][-1]) for part in parts(service) if part.base in by_base}
    predictors = [revision for part, revision in shown.values() if part.component == PREDICTOR]
    entry = next((revision for part, revision in shown.values() if part.component == "transformer"), None) or next(iter(predictors), None)
    if entry is None:
        return ()
    name, is_knative = service["metadata"]["name"], deployment_mode(service) == "Knative"
    if is_knative:
        views = [_component(service, part, revision, reach) for part, revision in shown.values()]
    else:
        views = [component_view(by_base[base]) for base in shown]
        views += [View(SERVICE, _core_service(base, revision, reach, {})) for base, (_, revision) in shown.items()]
    views.append(View(SERVICE, _core_service(name, entry, reach, {"externalName": _LOCAL_GATEWAY} if is_knative else {})))
    shared = component_name(name, PREDICTOR)
    if shared not in shown and predictors:
        views.append(View(SERVICE, _core_service(shared, predictors[0], reach, {})))  # a predictor with a variant's name
    return tuple(views)


def _by_base(revisions: Iterable[Object]) -> dict[str, list[Object]]:
    """Return the revisions of each name, the oldest first."""
    found: dict[str, list[Object]] = {}
    for each in sorted(revisions, key=lambda each: revision_number(each["metadata"]["name"])):
        found.setdefault(each["metadata"]["labels"][CONFIGURATION_LABEL], []).append(each)
    return found


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
        return view_object(kind, name, newest, spec, {**told_status, "conditions": _renamed(owner, names)})

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
    return view_object(SERVICE, name, revision, {"type": kind, "ports": [port], "selector": selector, **more}, {"loadBalancer": {}})
