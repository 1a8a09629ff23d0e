"""Revision (Knative): one state of a predictor's pod template, kept for roll-out and roll-back. Written by controllers only."""

from __future__ import annotations

from flambeau.control.resources.fields.pods import SERVING_POD_FIELDS
from flambeau.control.resources.fields.words import ANYTHING, INT64, an_object, fields
from flambeau.control.resources.inference_service_check import DEPLOYMENT_MODE_ANNOTATION
from flambeau.control.resources.kind import Column, Kind, Object
from flambeau.control.resources.lookup import find
from flambeau.control.resources.object_schema import object_schema
from flambeau.control.resources.ready_columns import READY_COLUMNS

CONFIGURATION_LABEL = "serving.knative.dev/configuration"
GENERATION_LABEL = "serving.knative.dev/configurationGeneration"


def is_standard(revision: Object) -> bool:
    """Tell whether a revision is of a service in deployment mode Standard, whose pods are those of one Deployment a component."""
    return bool(find(revision, "metadata", "annotations", DEPLOYMENT_MODE_ANNOTATION) == "Standard")


def deployment_of(revision: Object) -> str:
    """Return the name of the Deployment as whose a revision's pods are shown."""
    if is_standard(revision):
        return str(find(revision, "metadata", "labels", CONFIGURATION_LABEL))
    return f"{revision['metadata']['name']}-deployment"


_LIMITS = fields("timeoutSeconds", "responseStartTimeoutSeconds", "idleTimeoutSeconds", "containerConcurrency", of=INT64)

REVISION = Kind(
    group="serving.knative.dev",
    versions=("v1",),
    kind="Revision",
    plural="revisions",
    singular="revision",
    short_names=("rev",),
    categories=("all", "knative", "serving"),
    columns=(
        Column("Config Name", lambda obj, _: find(obj, "metadata", "labels", CONFIGURATION_LABEL)),
        Column("Generation", lambda obj, _: find(obj, "metadata", "labels", GENERATION_LABEL)),
        *READY_COLUMNS,
        Column("Actual Replicas", lambda obj, _: find(obj, "status", "actualReplicas"), type="integer"),
        Column("Desired Replicas", lambda obj, _: find(obj, "status", "desiredReplicas"), type="integer"),
    ),
    schema=object_schema({"spec": an_object({**SERVING_POD_FIELDS, **_LIMITS}), "status": ANYTHING}),
    read_only=True,
)
