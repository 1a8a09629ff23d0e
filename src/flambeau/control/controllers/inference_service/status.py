"""An InferenceService's ``status``, as KServe writes it: in mode Standard without the conditions that are about Knative's objects. Pure.

Conditions that are not True carry the failing layer's own words: a person reads them in ``kubectl get -o yaml`` or ``describe`` and needs
to look nowhere else. The routing controller owns ``IngressReady``; everything else is written here.
Source: specification 1.10 and 1.13.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from flambeau.control.controllers.hosts import Site, internal_url
from flambeau.control.controllers.inference_service.desired import Plan, is_serving, is_stopped
from flambeau.control.controllers.inference_service.parts import PREDICTOR, Part, memory
from flambeau.control.controllers.inference_service.traffic import to_status
from flambeau.control.resources.conditions import get_condition, set_condition
from flambeau.control.resources.inference_service_check import deployment_mode
from flambeau.control.resources.kind import Object
from flambeau.control.resources.lookup import mappings_at
from flambeau.control.resources.runtime_selection import Selection
from flambeau.foundation.timestamps import rfc3339

INGRESS_READY = "IngressReady"
STOPPED = "Stopped"
"""A condition's type, and the reason of those that are not True because of it."""
_INFO = "Info"
_KNATIVE = "Knative"


@dataclass(frozen=True, slots=True)
class Told:
    """A condition's content."""

    status: str
    reason: str = ""
    message: str = ""


@dataclass(frozen=True, slots=True)
class PartView:
    """What is told of a part is made from."""

    part: Part
    plan: Plan
    revisions: Sequence[Object]
    """The part's."""
    pods: Sequence[Object]
    """Of the latest revision, without those that are going."""
    selection: Selection
    """Of its runtime; of none where it has containers of its own."""
    refusal: Told | None
    """Why there can be no new revision; None where there can."""


@dataclass(frozen=True, slots=True)
class View:
    """What the status is made from."""

    service: Object
    parts: Sequence[PartView]
    """The predictor first."""

    @property
    def components(self) -> Sequence[PartView]:
        """The parts that every request may need: all but the canaries."""
        return [each for each in self.parts if not each.part.canary]

    @property
    def canaries(self) -> Sequence[PartView]:
        """The predictor's canaries."""
        return [each for each in self.parts if each.part.canary]


def service_status(view: View, site: Site, now: float) -> Object:
    """Return the whole new status.

    Args:
        view: what is there.
        site: for the URLs.
        now: seconds since the epoch.
    """
    metadata, predictor = view.service["metadata"], view.parts[0]
    old = view.service.get("status") or {}
    name, namespace = metadata["name"], metadata["namespace"]
    status: Object = {
        "observedGeneration": metadata.get("generation", 1),
        "deploymentMode": deployment_mode(view.service),
        "conditions": _conditions(view, now),
        "components": {each.part.component: _component(each, site, namespace) for each in view.components},
        "modelStatus": model_status(predictor, old.get("modelStatus") or {}, now),
    }
    runtime = predictor.selection.runtime
    if runtime is not None:
        field = "servingRuntimeName" if runtime["metadata"].get("namespace") else "clusterServingRuntimeName"
        status[field] = runtime["metadata"]["name"]
    if view.canaries:
        status["canaryStatuses"] = [_canary(each, memory(view.service, each.part), now) for each in view.canaries]
    if all(each.plan.split.targets for each in view.components):
        status |= {"url": site.entry_url(name, namespace), "address": {"url": internal_url(_entrance(view), namespace)}}
    return status


def _entrance(view: View) -> str:
    """Return the name that leads to the whole service inside the cluster; mode Standard has none but its components'."""
    if deployment_mode(view.service) == _KNATIVE:
        return str(view.service["metadata"]["name"])
    return next((each.part.base for each in view.components if each.part.component == "transformer"), view.parts[0].part.base)


def _component(view: PartView, site: Site, namespace: str) -> Object:
    told = _memory(view.plan)
    if view.plan.split.targets:
        told |= {"url": site.url(view.part.base, namespace), "address": {"url": internal_url(view.part.base, namespace)}}
    return told


def _memory(plan: Plan) -> Object:
    """Return what the next plan is made from, too."""
    told: Object = {
        "latestCreatedRevision": plan.latest_created,
        "latestReadyRevision": plan.latest_ready,
        "latestRolledoutRevision": plan.split.history.rolled_out,
        "previousRolledoutRevision": plan.split.history.previous,
        "traffic": to_status(plan.split.targets),
    }
    return {field: value for field, value in told.items() if value}


def _canary(view: PartView, old: Object, now: float) -> Object:
    """Return a canary's entry; it gets its share of the requests when it is ready."""
    return {
        "name": view.part.canary,
        "ready": _route(view, _latest(view)).status == "True",
        "trafficPercent": view.part.percent,
        "modelStatus": model_status(view, old.get("modelStatus") or {}, now),
        **_memory(view.plan),
    }


def _conditions(view: View, now: float) -> list[Object]:
    known, is_knative = mappings_at(view.service, "status", "conditions"), deployment_mode(view.service) == _KNATIVE
    told: dict[str, tuple[Told, str | None]] = {STOPPED: (Told("True" if is_stopped(view.service) else "False"), _INFO)}
    components = []
    for each in view.components:
        word = each.part.component.capitalize()
        latest = _latest(each)
        route = _route(each, latest)
        ready = _ready(each, latest, route)
        if is_knative:
            told |= {f"{word}ConfigurationReady": (latest, _INFO), route_condition(each.part.component): (route, _INFO)}
        told[f"{word}Ready"] = (ready, None)
        components.append((latest, route, _in_service(each, ready)))
    if is_knative:
        told["LatestDeploymentReady"] = (_first_untrue(latest for latest, _, _ in components), _INFO)
        told["RoutesReady"] = (_first_untrue(route for _, route, _ in components), _INFO)
    if view.canaries:
        told[_CANARY_READY] = (_canaries(view), _INFO)
    selection = view.parts[0].selection
    if selection.newer and selection.runtime is not None:
        words = f"{selection.runtime['metadata']['name']} serves it since it was chosen first; {selection.newer} would be chosen now"
        told[_RUNTIME_KEPT] = (Told("True", "NewerRuntime", f"{words}: set spec.predictor.model.runtime to change"), _INFO)
    ingress = get_condition(view.service, INGRESS_READY)
    told_ingress = Told(ingress["status"], ingress.get("reason", ""), ingress.get("message", "")) if ingress else _NO_INGRESS
    told[INGRESS_READY] = (told_ingress, None)
    told["Ready"] = (_first_untrue((*(ready for _, _, ready in components), told_ingress)), None)
    # Only what is told here and now is kept: the conditions of a component that was taken away go with it.
    conditions: list[Object] = copy.deepcopy([each for each in known if each["type"] in told])
    for type, (content, severity) in told.items():
        set_condition(conditions, type, content.status, content.reason, content.message, now, severity)
    return conditions


_CANARY_READY = "CanaryPredictorReady"
_RUNTIME_KEPT = "RuntimeKept"
"""There only while another runtime would be chosen for a new service."""
_NO_INGRESS = Told("Unknown", "IngressNotConfigured", "the gateway has no route to it yet")


def route_condition(component: str) -> str:
    """Return the type of the condition about a component's routes; KServe's spelling differs for the explainer."""
    return f"{component.capitalize()}{'RoutesReady' if component == 'explainer' else 'RouteReady'}"


def _first_untrue(told: Iterable[Told]) -> Told:
    return next((each for each in told if each.status != "True"), Told("True"))


def _canaries(view: View) -> Told:
    waiting = [(each, route) for each in view.canaries if (route := _route(each, _latest(each))).status != "True"]
    if not waiting:
        return Told("True", "AllCanariesReady")
    words = "; ".join(f"{each.part.canary}: {route.message or route.reason}" for each, route in waiting)
    return Told("False", "CanariesNotReady", f"the stable predictor answers instead of {words}")


def _latest(view: PartView) -> Told:
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


def _route(view: PartView, latest: Told) -> Told:
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


def _ready(view: PartView, latest: Told, route: Told) -> Told:
    """Return the latest revision's state, with what that means for the requests."""
    if latest.status == "True":
        return route
    if route.status != "True":
        return latest
    serving = " and ".join(target.revision for target in view.plan.split.targets if target.percent > 0)
    failing = "" if view.refusal is not None else f"{view.plan.latest_created}: "
    what = f"{failing}{latest.message}; " if latest.message else ""
    return Told(latest.status, latest.reason, f"{what}{serving} keeps serving")


def _in_service(view: PartView, ready: Told) -> Told:
    """Return how a component stands for whoever does not know which one is told about: with its name where it is not the predictor."""
    word = view.part.component
    if word == PREDICTOR or not ready.message or ready.message.startswith((view.part.base, f"the {word}")):
        return ready
    return replace(ready, message=f"{word}: {ready.message}")


def model_status(view: PartView, old: Object, now: float) -> Object:
    """Return KServe's summary of the model, from the newest pod of the newest revision.

    Args:
        view: of the predictor, or of a canary.
        old: the summary as it was.
        now: seconds since the epoch.
    """
    ready_pods = [pod for pod in view.pods if (get_condition(pod, "Ready") or {}).get("status") == "True"]
    copies = {"failedCopies": 0, "totalCopies": len(ready_pods)}
    if view.refusal is not None and view.refusal.reason == STOPPED:
        return {"transitionStatus": "UpToDate", "states": {"activeModelState": "", "targetModelState": ""}, "copies": copies}
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
    known: Object = old.get("lastFailureInfo") or {}
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
