"""An InferenceGraph's ``status``: its router's, as Knative tells it, and that of the services it needs. Pure.

The routing controller owns ``IngressReady``; everything else is written here.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass

from flambeau.control.controllers.hosts import Site, internal_url
from flambeau.control.controllers.inference_graph.desired import Plan
from flambeau.control.controllers.inference_graph.template import Services
from flambeau.control.controllers.inference_service.traffic import Target, to_status
from flambeau.control.resources.conditions import get_condition, set_condition
from flambeau.control.resources.kind import Object
from flambeau.control.resources.lookup import mappings_at

INGRESS_READY = "IngressReady"
_NOT_ROUTED = ("Unknown", "IngressNotConfigured", "the gateway has no route to it yet")


@dataclass(frozen=True, slots=True)
class View:
    """What the status is made from."""

    graph: Object
    plan: Plan
    revisions: Sequence[Object]
    services: Services
    is_name_taken: bool
    """An InferenceService has the same name, and so the same hosts."""


_Told = tuple[str, str, str]
"""A condition's status, reason and message."""


def graph_status(view: View, site: Site, now: float) -> Object:
    """Return the whole new status.

    Args:
        view: what is there.
        site: for the URLs.
        now: seconds since the epoch.
    """
    metadata, conditions = view.graph["metadata"], copy.deepcopy(mappings_at(view.graph, "status", "conditions"))
    configuration, services = _configuration(view), _services(view)
    routes = get_condition(view.graph, INGRESS_READY)
    told_routes = (routes["status"], routes.get("reason", ""), routes.get("message", "")) if routes else _NOT_ROUTED
    first_bad = next((told for told in (services, configuration, told_routes) if told[0] != "True"), ("True", "", ""))
    for type, told in (
        ("ServicesReady", services),
        ("ConfigurationsReady", configuration),
        (INGRESS_READY, told_routes),
        ("Ready", first_bad),
    ):
        set_condition(conditions, type, told[0], told[1], told[2], now)
    status: Object = {
        "observedGeneration": metadata.get("generation", 1),
        "deploymentMode": "Knative",
        "conditions": conditions,
        "latestCreatedRevisionName": view.plan.latest,
    }
    if view.plan.serving:
        status |= {
            "traffic": to_status((Target(view.plan.serving, 100, latest=view.plan.serving == view.plan.latest),)),
            "url": site.url(metadata["name"], metadata["namespace"]),
            "address": {"url": internal_url(metadata["name"], metadata["namespace"])},
        }
    return {name: value for name, value in status.items() if value}


def _services(view: View) -> _Told:
    if view.is_name_taken:
        name = view.graph["metadata"]["name"]
        return (
            "False",
            "NameTaken",
            f"there is an InferenceService {name}, too, which answers at the same hosts: give one of them another name",
        )
    if view.services.missing:
        names = ", ".join(view.services.missing)
        return "False", "ServiceNotFound", f"there is no InferenceService {names} in this namespace"
    if view.services.unready:
        return "False", "ServiceNotReady", "; ".join(view.services.unready)
    return "True", "", ""


def _configuration(view: View) -> _Told:
    """Return how the newest revision stands."""
    revision = next((each for each in view.revisions if each["metadata"]["name"] == view.plan.latest), None)
    ready = get_condition(revision, "Ready") if revision is not None else None
    if ready is None:
        return "Unknown", "RevisionStarting", f"{view.plan.latest} has just been created" if view.plan.latest else ""
    if ready["status"] == "True":
        return "True", "", ""
    message = ready.get("message", "")
    if view.plan.serving and view.plan.serving != view.plan.latest:
        message = f"{message}; {view.plan.serving} keeps serving" if message else f"{view.plan.serving} keeps serving"
    return ready["status"], ready.get("reason", ""), message
