"""Labels, annotations and names that controllers agree on. Pure."""

from __future__ import annotations

import hashlib

SERVICES = "inferenceservices.serving.kserve.io"
REVISIONS = "revisions.serving.knative.dev"
PODS = "pods"
CORE_SERVICES = "services"
GRAPHS = "inferencegraphs.serving.kserve.io"
POD_AUTOSCALERS = "podautoscalers.autoscaling.internal.knative.dev"

SERVICE_LABEL = "serving.kserve.io/inferenceservice"
COMPONENT_LABEL = "component"
CONFIGURATION_LABEL = "serving.knative.dev/configuration"
GENERATION_LABEL = "serving.knative.dev/configurationGeneration"
REVISION_LABEL = "serving.knative.dev/revision"
ROUTING_STATE_LABEL = "serving.knative.dev/routingState"
ACTIVE = "active"
"""The revision has requests, or is to have them: it is to have pods."""
RESERVE = "reserve"
"""The revision is kept for a roll-back; it needs no pods."""

HASH_ANNOTATION = "flambeau.dev/template-hash"
SPEC_ANNOTATION = "flambeau.dev/component-spec"
"""The component's part of the InferenceService, as JSON, as it was when the revision was made: what a roll-back applies again."""
CHANGED_BY_ANNOTATION = "flambeau.dev/changed-by"
"""The field manager whose change made the revision."""
MIN_SCALE_ANNOTATION = "autoscaling.knative.dev/min-scale"
INITIAL_SCALE_ANNOTATION = "autoscaling.knative.dev/initial-scale"
MAX_SCALE_ANNOTATION = "autoscaling.knative.dev/max-scale"

STOP_ANNOTATION = "serving.kserve.io/stop"
"""``true``: the service is kept without pods."""

_LABEL_CHARS_MAX = 63


def revision_name(predictor: str, number: int) -> str:
    """Return ``<predictor>-00001``; a name that gets too long for a label ends in a digest instead, so that it stays unique."""
    name = f"{predictor}-{number:05d}"
    if len(name) <= _LABEL_CHARS_MAX:
        return name
    digest = hashlib.sha256(name.encode()).hexdigest()[:10]
    return f"{predictor[: _LABEL_CHARS_MAX - 17]}-{digest}-{number:05d}"


def revision_number(name: str) -> int:
    """Return a revision's number, by its name; 0 for no name."""
    digits = name.rpartition("-")[2]
    return int(digits) if digits.isdigit() else 0
