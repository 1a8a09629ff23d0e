"""An InferenceService's ``status``, as KServe writes it in Knative mode. Pure.

Conditions that are not True carry the failing layer's own words: a person reads them in ``kubectl get -o yaml`` or ``describe`` and needs
to look nowhere else. The routing controller owns ``IngressReady``; everything else is written here.
Source: specification 1.10 and 1.13.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass

from flambeau.control.controllers.hosts import Site, internal_url, predictor_name
from flambeau.control.controllers.inference_service.desired import Plan, is_serving
from flambeau.control.controllers.inference_service.traffic import to_status
from flambeau.control.resources.conditions import get_condition, set_condition
from flambeau.control.resources.kind import Object
from flambeau.control.resources.lookup import mappings_at
from flambeau.foundation.timestamps import rfc3339

INGRESS_READY = "IngressReady"
_INFO = "Info"


@dataclass(frozen=True, slots=True)
class Told:
    """A condition's content."""

    status: str
    reason: str = ""
    message: str = ""


@dataclass(frozen=True, slots=True)
class View:
    """What the status is made from."""

    service: Object
    plan: Plan
    revisions: Sequence[Object]
    pods: Sequence[Object]
    """Of the latest revision, without those that are going."""
    runtime: Object | None
    refusal: Told | None
    """Why there can be no new revision; None where there can."""


def service_status(view: View, site: Site, now: float) -> Object:
    """Return the whole new status.

    Args:
        view: what is there.
        site: for the URLs.
        now: seconds since the epoch.
    """
    metadata, plan = view.service["metadata"], view.plan
    old = view.service.get("status") or {}
    name, namespace = metadata["name"], metadata["namespace"]
    component: Object = {
        "latestCreatedRevision": plan.latest_created,
        "latestReadyRevision": plan.latest_ready,
        "latestRolledoutRevision": plan.split.history.rolled_out,
        "previousRolledoutRevision": plan.split.history.previous,
    }
    status: Object = {
        "observedGeneration": metadata.get("generation", 1),
        "deploymentMode": "Knative",
        "conditions": _conditions(view, now),
        "components": {"predictor": {field: value for field, value in component.items() if value}},
        "modelStatus": _model_status(view, old, now),
    }
    if view.runtime is not None:
        field = "servingRuntimeName" if view.runtime["metadata"].get("namespace") else "clusterServingRuntimeName"
        status[field] = view.runtime["metadata"]["name"]
    if plan.split.targets:
        status["components"]["predictor"] |= {
            "traffic": to_status(plan.split.targets),
            "url": site.url(predictor_name(name), namespace),
            "address": {"url": internal_url(predictor_name(name), namespace)},
        }
        status |= {"url": site.url(name, namespace), "address": {"url": internal_url(name, namespace)}}
    return status


def _conditions(view: View, now: float) -> list[Object]:
    conditions: list[Object] = copy.deepcopy(mappings_at(view.service, "status", "conditions"))
    latest = _latest(view)
    route = _route(view, latest)
    predictor = _predictor(view, latest, route)
    ingress = get_condition(view.service, INGRESS_READY)
    told_ingress = Told(ingress["status"], ingress.get("reason", ""), ingress.get("message", "")) if ingress else _NO_INGRESS
    for type, told, severity in (
        ("LatestDeploymentReady", latest, _INFO),
        ("PredictorConfigurationReady", latest, _INFO),
        ("PredictorRouteReady", route, _INFO),
        ("RoutesReady", route, _INFO),
        ("Stopped", Told("False"), _INFO),
        ("PredictorReady", predictor, None),
        (INGRESS_READY, told_ingress, None),
        ("Ready", told_ingress if predictor.status == "True" else predictor, None),
    ):
        set_condition(conditions, type, told.status, told.reason, told.message, now, severity)
    return conditions


_NO_INGRESS = Told("Unknown", "IngressNotConfigured", "the gateway has no route to it yet")


def _latest(view: View) -> Told:
    """Return how the latest revision stands; why there can be none, where that is so."""
    if view.refusal is not None:
        return view.refusal
    name = view.plan.latest_created
    revision = next((each for each in view.revisions if each["metadata"]["name"] == name), None)
    ready = None if revision is None else get_condition(revision, "Ready")
    if ready is None:
        return Told("Unknown", "RevisionStarting", f"{name} has just been created")
    if ready["status"] == "True":
        return Told("True")
    return Told(ready["status"], ready.get("reason", ""), ready.get("message", ""))


def _route(view: View, latest: Told) -> Told:
    """Return whether the revisions that are to answer requests can."""
    targets = [target for target in view.plan.split.targets if target.percent > 0]
    if not targets:
        return Told("Unknown" if latest.status == "True" else latest.status, latest.reason or "RevisionMissing", latest.message)
    by_name = {each["metadata"]["name"]: each for each in view.revisions}
    for target in targets:
        revision = by_name[target.revision]
        if not is_serving(revision):
            ready = get_condition(revision, "Ready") or {}
            why = ready.get("message") or "none of its pods is ready"
            return Told(
                "False", ready.get("reason") or "NoReadyPods", f"{target.revision} gets {target.percent} % of the requests but {why}"
            )
    return Told("True")


def _predictor(view: View, latest: Told, route: Told) -> Told:
    """Return the latest revision's state, with what that means for the requests."""
    if latest.status == "True":
        return route
    if route.status != "True":
        return latest
    serving = " and ".join(target.revision for target in view.plan.split.targets if target.percent > 0)
    return Told(
        latest.status, latest.reason, f"{latest.message}; {serving} keeps serving" if latest.message else f"{serving} keeps serving"
    )


def _model_status(view: View, old: Object, now: float) -> Object:
    """Return KServe's summary of the model, from the newest pod of the newest revision."""
    ready_pods = [pod for pod in view.pods if (get_condition(pod, "Ready") or {}).get("status") == "True"]
    copies = {"failedCopies": 0, "totalCopies": len(ready_pods)}
    if view.refusal is not None:
        failure = {"reason": view.refusal.reason, "message": view.refusal.message}
        return {"transitionStatus": "InvalidSpec", "lastFailureInfo": _failure(failure, old, now), "copies": copies}
    if view.plan.latest_ready == view.plan.latest_created and ready_pods:
        return {"transitionStatus": "UpToDate", "states": {"activeModelState": "Loaded", "targetModelState": "Loaded"}, "copies": copies}
    active = "Loaded" if view.plan.latest_ready else ""
    failed = next((found for pod in view.pods if (found := _failed_container(pod)) is not None), None)
    if failed is not None:
        failure = {"reason": "ModelLoadFailed", "modelRevisionName": view.plan.latest_created, **failed}
        return {
            "transitionStatus": "BlockedByFailedLoad",
            "states": {"activeModelState": active, "targetModelState": "FailedToLoad"},
            "lastFailureInfo": _failure(failure, old, now),
            "copies": copies,
        }
    target = "Loading" if any(_is_fetching(pod) for pod in view.pods) else "Pending"
    return {"transitionStatus": "InProgress", "states": {"activeModelState": active, "targetModelState": target}, "copies": copies}


def _failure(failure: Object, old: Object, now: float) -> Object:
    """Return the failure with its time, which stays while the failure stays the same."""
    known: Object = (old.get("modelStatus") or {}).get("lastFailureInfo") or {}
    if {name: value for name, value in known.items() if name != "time"} == failure:
        return known
    return {**failure, "time": rfc3339(now)}


def _failed_container(pod: Object) -> Object | None:
    """Return message and exit code of a container that failed; None where none did."""
    for container in (*mappings_at(pod, "status", "initContainerStatuses"), *mappings_at(pod, "status", "containerStatuses")):
        waiting = (container.get("state") or {}).get("waiting") or {}
        if waiting.get("reason") in (None, "PodInitializing", "ContainerCreating"):
            continue
        ended = (container.get("lastState") or {}).get("terminated") or {}
        failure = {"message": waiting.get("message") or ended.get("message") or str(waiting["reason"])}
        return failure | ({"exitCode": ended["exitCode"]} if "exitCode" in ended else {})
    return None


def _is_fetching(pod: Object) -> bool:
    return any("running" in (container.get("state") or {}) for container in mappings_at(pod, "status", "initContainerStatuses"))
