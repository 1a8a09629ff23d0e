"""PodAutoscaler (Knative): how many pods a revision should have, and why. Written by the autoscaler only."""

from __future__ import annotations

from flambeau.control.resources.conditions import get_condition
from flambeau.control.resources.fields.words import ANYTHING
from flambeau.control.resources.kind import Column, Kind, Object
from flambeau.control.resources.lookup import find
from flambeau.control.resources.object_schema import object_schema

AUTOSCALER_CLASS = "autoscaling.knative.dev/class"


def _ready(field: str) -> Column:
    def cell(obj: Object, _: float) -> str | None:
        return (get_condition(obj, "Ready") or {}).get(field)

    return Column({"status": "Ready", "reason": "Reason"}[field], cell)


POD_AUTOSCALER = Kind(
    group="autoscaling.internal.knative.dev",
    versions=("v1alpha1",),
    kind="PodAutoscaler",
    plural="podautoscalers",
    singular="podautoscaler",
    short_names=("kpa", "pa"),
    categories=("knative-internal", "autoscaling"),
    columns=(
        Column("DesiredScale", lambda obj, _: find(obj, "status", "desiredScale"), type="integer"),
        Column("ActualScale", lambda obj, _: find(obj, "status", "actualScale"), type="integer"),
        _ready("status"),
        _ready("reason"),
    ),
    schema=object_schema({"spec": ANYTHING, "status": ANYTHING}),
    read_only=True,
)
