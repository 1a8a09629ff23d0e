"""A new Revision of a configuration: of a service's part, or of a graph's router. Pure."""

from __future__ import annotations

from flambeau.control.controllers.inference_service.template import template_hash
from flambeau.control.controllers.names import (
    ACTIVE,
    CONFIGURATION_LABEL,
    GENERATION_LABEL,
    HASH_ANNOTATION,
    ROUTING_STATE_LABEL,
    revision_name,
)
from flambeau.control.resources.kind import Object
from flambeau.control.resources.owners import controlled_by


def new_revision(owner: Object, configuration: str, template: Object, number: int, origin: dict[str, str] | None = None) -> Object:
    """Return a new revision, active.

    Args:
        owner: whose it is.
        configuration: the name that its revisions share.
        template: of its pods: labels, annotations, spec.
        number: the revision's.
        origin: annotations that say what it was made from.
    """
    metadata = owner["metadata"]
    labels = {
        **template["metadata"]["labels"],
        "serving.knative.dev/service": configuration,
        "serving.knative.dev/serviceUID": metadata["uid"],
        CONFIGURATION_LABEL: configuration,
        "serving.knative.dev/configurationUID": metadata["uid"],
        GENERATION_LABEL: str(number),
        ROUTING_STATE_LABEL: ACTIVE,
    }
    return {
        "apiVersion": "serving.knative.dev/v1",
        "kind": "Revision",
        "metadata": {
            "name": revision_name(configuration, number),
            "namespace": metadata["namespace"],
            "labels": labels,
            "annotations": {**template["metadata"]["annotations"], HASH_ANNOTATION: template_hash(template), **(origin or {})},
            "ownerReferences": [controlled_by(owner)],
        },
        "spec": template["spec"],
    }
