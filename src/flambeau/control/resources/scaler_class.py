"""Who decides how many pods an InferenceService has. Pure."""

from __future__ import annotations

from typing import Literal

from flambeau.control.resources.inference_service_check import deployment_mode
from flambeau.control.resources.inference_service_scaling import AUTOSCALER_CLASS_ANNOTATION, KNATIVE_CLASS_ANNOTATION, KNATIVE_HPA_CLASS
from flambeau.control.resources.kind import Object
from flambeau.control.resources.lookup import find

ScalerClass = Literal["kpa", "hpa", "none", "external"]

REPLICAS_ANNOTATION = "flambeau.dev/replicas"
"""On a Deployment of the class ``external``: how many pods its scale subresource was told."""


def scaler_of(service: Object) -> ScalerClass:
    """Return who scales: requests (kpa), what is measured (hpa), nobody (none: minReplicas), or somebody else (external).

    keda's triggers are what an hpa does, and are done by one.
    """
    annotations = find(service, "metadata", "annotations") or {}
    if deployment_mode(service) == "Knative":
        return "hpa" if annotations.get(KNATIVE_CLASS_ANNOTATION) == KNATIVE_HPA_CLASS else "kpa"
    said = annotations.get(AUTOSCALER_CLASS_ANNOTATION)
    if said in ("none", "external"):
        return said  # type: ignore[no-any-return]
    return "hpa"
