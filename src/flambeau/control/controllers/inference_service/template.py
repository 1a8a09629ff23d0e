"""The pod template of a part of an InferenceService: a runtime's container overlaid by what the service says, or its own. Pure.

Source: specification 2.4 (merging), 2.5 (defaults by server type), 3.1 (storage initializer), 4.2 (template annotations).
"""

from __future__ import annotations

import copy
import hashlib
import re
from collections.abc import Mapping
from typing import Any

import orjson

from flambeau.control.controllers import sidecar
from flambeau.control.controllers.inference_service.arguments import add_arguments
from flambeau.control.controllers.inference_service.parts import PREDICTOR, Part, least_of
from flambeau.control.controllers.inference_service.server_types import labels_for, variables_for
from flambeau.control.controllers.inference_service.sources import READ_ONLY_ANNOTATION, add_initializer, source_annotations, take_sources
from flambeau.control.controllers.merge import merge_containers, merge_list, merge_value
from flambeau.control.controllers.names import COMPONENT_LABEL, MAX_SCALE_ANNOTATION, MIN_SCALE_ANNOTATION, SERVICE_LABEL, STOP_ANNOTATION
from flambeau.control.resources.inference_service_aside import SHADOW_ANNOTATION
from flambeau.control.resources.inference_service_check import DEPLOYMENT_MODE_ANNOTATION, deployment_mode
from flambeau.control.resources.kind import Object
from flambeau.control.resources.pod_template import POD_SPEC_FIELDS, SERVER_CONTAINER, TRANSFORMER_CONTAINER, environment_value
from flambeau.foundation.errors import InvalidInput

SOURCE_ANNOTATION = "internal.serving.kserve.io/storage-initializer-sourceuri"
PREDICTOR_PROTOCOL_ANNOTATION = "internal.serving.kserve.io/predictor-protocol"
TIMEOUT_SECONDS = 300
"""Knative's default for the response's start."""

_NOT_OF_THE_CONTAINER = frozenset(
    (
        *("modelFormat", "runtime", "storageUri", "runtimeVersion", "protocolVersion", "storage", "confidential", "name"),
        *("type", "config"),
    )
)
"""Of ``model`` and ``art``; the rest is about the container."""
_NEVER_COPIED = frozenset(
    (
        MIN_SCALE_ANNOTATION,
        MAX_SCALE_ANNOTATION,
        SOURCE_ANNOTATION,
        STOP_ANNOTATION,
        "kubectl.kubernetes.io/last-applied-configuration",
        "modelFormat",
        SHADOW_ANNOTATION,
        "serving.knative.dev/rollout-duration",
        "networking.knative.dev/visibility",
    )
)
"""Annotations and labels of the InferenceService that do not reach its pods."""
_PLACEHOLDER = re.compile(r"\{\{\s*\.(Name|Namespace|Labels\.[\w.-]+|Annotations\.[\w.-]+)\s*\}\}")


def template_for(service: Object, part: Part, runtime: Object | None) -> Object:
    """Return a part's template: ``metadata`` (labels, annotations) and ``spec`` (a revision's).

    Args:
        service: the InferenceService, defaulted.
        part: the component, or canary.
        runtime: the ServingRuntime or ClusterServingRuntime; None for custom containers.

    Raises:
        InvalidInput: the service or its runtime can't be made into a pod; the reason is one for the Ready condition.
    """
    spec, name = part.spec, service["metadata"]["name"]
    labels = labels_for(spec, runtime)
    pod = _pod_of_runtime(service, spec, runtime, labels) if runtime is not None else _pod_of_containers(spec)
    server = pod["containers"][0]
    sources = take_sources(part, server)
    if part.component != PREDICTOR:
        add_arguments(service, part, server)
    seeing = [each for each in pod["containers"] if each is server or each["name"] == TRANSFORMER_CONTAINER]
    for container in seeing:
        merge_list(container.setdefault("env", []), [{"name": "INFERENCE_SERVICE_NAME", "value": name}], "name")
    annotations = _annotations(service, part, runtime)
    if sources:
        annotations |= {SOURCE_ANNOTATION: ",".join(uri for uri, _ in sources), **source_annotations(part)}
        add_initializer(pod, seeing, sources, read_only=annotations.get(READ_ONLY_ANNOTATION) != "false")
    labels |= _copied(((runtime or {}).get("spec") or {}).get("labels"), service["metadata"].get("labels"), spec.get("labels"))
    labels |= {SERVICE_LABEL: name, COMPONENT_LABEL: part.component}
    revision = {
        **pod,
        "timeoutSeconds": int(spec.get("timeout") or TIMEOUT_SECONDS),
        "containerConcurrency": int(spec.get("containerConcurrency") or 0),
    }
    return {"metadata": {"labels": labels, "annotations": annotations}, "spec": revision}


def template_hash(template: Object) -> str:
    """Return a digest: equal templates, equal digests."""
    return hashlib.sha256(orjson.dumps(template, option=orjson.OPT_SORT_KEYS)).hexdigest()[:32]


def _pod_of_runtime(service: Object, predictor: Object, runtime: Object, labels: Mapping[str, str]) -> Object:
    spec = runtime["spec"]
    model = predictor["model"]
    base = next((each for each in spec["containers"] if each["name"] == SERVER_CONTAINER), None)
    if base is None:
        name = runtime["metadata"]["name"]
        raise InvalidInput(f"runtime {name} has no container named {SERVER_CONTAINER}", reason="InvalidRuntime")
    overlay = {name: value for name, value in model.items() if name not in _NOT_OF_THE_CONTAINER}
    server = merge_containers(base, overlay)
    if model.get("runtimeVersion"):
        server["image"] = _with_tag(server["image"], model["runtimeVersion"])
    variables = variables_for(model, runtime, service["metadata"]["name"])
    if variables:
        merge_list(server.setdefault("env", []), variables, "name")
    server = _fill_placeholders(server, service["metadata"], labels)
    own = {each["name"]: each for each in predictor.get("containers") or ()}
    others = [merge_containers(each, own.pop(each["name"], {})) for each in spec["containers"] if each["name"] != SERVER_CONTAINER]
    others = sorted((*others, *copy.deepcopy(list(own.values()))), key=lambda each: each["name"] != TRANSFORMER_CONTAINER)
    pod: Object = {
        name: copy.deepcopy(spec[name]) for name in POD_SPEC_FIELDS if name in spec and name not in ("containers", "initContainers")
    }
    _overlay_pod(pod, predictor)
    pod["containers"] = [server, *others]
    return pod


def _pod_of_containers(spec: Object) -> Object:
    """Return the pod of custom containers, the server first; of the ART explainer, whose container is written in its own field."""
    pod: Object = {}
    _overlay_pod(pod, spec)
    listed = copy.deepcopy(spec.get("containers") or [])
    if spec.get("art"):
        own = {name: copy.deepcopy(value) for name, value in spec["art"].items() if name not in _NOT_OF_THE_CONTAINER}
        pod["containers"] = [{"name": SERVER_CONTAINER, "image": "kserve/art-explainer", **own}, *listed]
    else:
        pod["containers"] = sorted(listed, key=lambda each: (each["name"] != SERVER_CONTAINER, each["name"] != TRANSFORMER_CONTAINER))
    return pod


def _overlay_pod(pod: Object, predictor: Object) -> None:
    for name in POD_SPEC_FIELDS:
        if name in predictor and name not in ("containers", "initContainers", "resources"):
            merge_value(pod, name, predictor[name])


def _with_tag(image: str, tag: str) -> str:
    if "@" in image:
        return image
    head, slash, last = image.rpartition("/")
    return f"{head}{slash}{last.partition(':')[0]}:{tag}"


def _fill_placeholders(value: Any, metadata: Mapping[str, Any], labels: Mapping[str, str]) -> Any:
    """Replace ``{{.Name}}`` and its like in every text of a container; what isn't there becomes ``<no value>``, as in Go."""
    if isinstance(value, dict):
        return {name: _fill_placeholders(inner, metadata, labels) for name, inner in value.items()}
    if isinstance(value, list):
        return [_fill_placeholders(inner, metadata, labels) for inner in value]
    if not isinstance(value, str):
        return value

    def put(match: re.Match[str]) -> str:
        field, _, key = match.group(1).partition(".")
        if field in ("Name", "Namespace"):
            return str(metadata[field.lower()])
        known = {**(metadata.get("labels") or {}), **labels} if field == "Labels" else metadata.get("annotations") or {}
        return str(known.get(key, "<no value>"))

    return _PLACEHOLDER.sub(put, value)


def _annotations(service: Object, part: Part, runtime: Object | None) -> dict[str, str]:
    runtime_annotations = ((runtime or {}).get("spec") or {}).get("annotations")
    annotations = {
        "autoscaling.knative.dev/class": "kpa.autoscaling.knative.dev",
        **_copied(runtime_annotations, service["metadata"].get("annotations"), part.spec.get("annotations")),
        MIN_SCALE_ANNOTATION: str(least_of(part.spec)),
    }
    if DEPLOYMENT_MODE_ANNOTATION in annotations:
        annotations[DEPLOYMENT_MODE_ANNOTATION] = deployment_mode(service)  # whatever a runtime or a component says
    if part.spec.get("maxReplicas"):
        annotations[MAX_SCALE_ANNOTATION] = str(part.spec["maxReplicas"])
    for field, name in (("scaleTarget", "target"), ("scaleMetric", "metric")):
        if part.spec.get(field) is not None:
            annotations[f"autoscaling.knative.dev/{name}"] = str(part.spec[field])
    annotations |= sidecar.to_annotations(part.spec)
    if part.component != PREDICTOR:
        annotations[PREDICTOR_PROTOCOL_ANNOTATION] = _protocol_of(service["spec"][PREDICTOR])
    return annotations


def _protocol_of(predictor: Object) -> str:
    """Return what a predictor is asked in, as far as its spec says it: a custom one says it by its variable PROTOCOL."""
    if predictor.get("model"):
        return str(predictor["model"].get("protocolVersion") or "v1")
    return next((said for each in predictor.get("containers") or () if (said := environment_value(each, "PROTOCOL"))), "v1")


def _copied(*maps: Mapping[str, str] | None) -> dict[str, str]:
    merged: dict[str, str] = {}
    for each in maps:
        merged.update({name: value for name, value in (each or {}).items() if not _is_ours(name)})
    return merged


def _is_ours(name: str) -> bool:
    """Tell whether an annotation is written by controllers; a batcher of a user's own words would not be checked by anybody."""
    return name in _NEVER_COPIED or name.startswith(sidecar.INTERNAL_PREFIX)
