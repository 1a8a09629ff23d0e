"""Replicas that are not decided by requests: by a HorizontalPodAutoscaler, by a fixed number, or by whoever writes a scale. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from flambeau.control.resources.kind import Object
from flambeau.control.resources.lookup import find
from flambeau.control.resources.revision import deployment_of
from flambeau.control.resources.scaler_class import REPLICAS_ANNOTATION, scaler_of

_SERVICE_LABEL = "serving.kserve.io/inferenceservice"
_Name = tuple[str, str]
"""Namespace and name."""


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """What was decided elsewhere."""

    wish: int | None
    """None: nothing yet, so what there is stays."""
    reason: str


def decided_elsewhere(
    revisions: Iterable[Object], services: Iterable[Object], autoscalers: Iterable[Object], deployments: Iterable[Object]
) -> dict[_Name, Elsewhere]:
    """Return, by revision, what else decides; a revision that is left out is scaled by its requests."""
    by_name = {_name(service): service for service in services}
    wishes = {(each["metadata"]["namespace"], find(each, "spec", "scaleTargetRef", "name")): each for each in autoscalers}
    scales = {_name(each): (each["metadata"].get("annotations") or {}).get(REPLICAS_ANNOTATION) for each in deployments}
    found = {}
    for revision in revisions:
        namespace, name = _name(revision)
        service = by_name.get((namespace, (revision["metadata"].get("labels") or {}).get(_SERVICE_LABEL, "")))
        target = (namespace, deployment_of(revision))
        told = _decided(service, wishes.get(target), scales.get(target))
        if told is not None:
            found[namespace, name] = told
    return found


def _decided(service: Object | None, autoscaler: Object | None, scale: str | None) -> Elsewhere | None:
    if autoscaler is not None:
        wish = find(autoscaler, "status", "desiredReplicas")
        return Elsewhere(None if wish is None else int(wish), f"HorizontalPodAutoscaler {autoscaler['metadata']['name']}")
    scaler = scaler_of(service) if service is not None else "kpa"
    if scaler == "none":
        return Elsewhere(None, "the autoscaler class is none: minReplicas")
    if scaler == "external":
        return Elsewhere(int(scale) if scale is not None and scale.isdigit() else None, "the scale of its Deployment")
    return Elsewhere(None, "its HorizontalPodAutoscaler is not there yet") if scaler == "hpa" else None


def _name(obj: Mapping[str, Object]) -> _Name:
    return str(obj["metadata"]["namespace"]), str(obj["metadata"]["name"])
