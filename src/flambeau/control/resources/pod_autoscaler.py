"""PodAutoscaler (Knative): how many pods a revision should have, and why. Written by the autoscaler only."""

from __future__ import annotations

from flambeau.control.resources.fields.words import ANYTHING
from flambeau.control.resources.kind import Column, Kind
from flambeau.control.resources.lookup import find
from flambeau.control.resources.object_schema import object_schema
from flambeau.control.resources.ready_columns import READY_COLUMNS

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
        *READY_COLUMNS,
    ),
    schema=object_schema({"spec": ANYTHING, "status": ANYTHING}),
    read_only=True,
)
