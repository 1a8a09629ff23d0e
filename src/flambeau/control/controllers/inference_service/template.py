"""The pod template of a predictor: a runtime's container overlaid by what the InferenceService says. Pure.

Source: specification 2.4 (merging), 2.5 (defaults by server type), 3.1 (storage initializer), 4.2 (template annotations).
"""

from __future__ import annotations

import copy
import hashlib
import re
from collections.abc import Mapping
from typing import Any

import orjson

from flambeau.control.controllers.merge import merge_containers, merge_list, merge_value
from flambeau.control.controllers.names import COMPONENT_LABEL, MAX_SCALE_ANNOTATION, MIN_SCALE_ANNOTATION, SERVICE_LABEL
from flambeau.control.resources.kind import Object
from flambeau.control.resources.pod_contract import INITIALIZER_CONTAINER, MODEL_VOLUME, MODELS_PATH
from flambeau.control.resources.pod_template import POD_SPEC_FIELDS, SERVER_CONTAINER
from flambeau.control.resources.runtime_selection import effective_protocol
from flambeau.control.resources.serving_runtime import SERVER_TYPE_ANNOTATION
from flambeau.foundation.errors import InvalidInput

SOURCE_ANNOTATION = "internal.serving.kserve.io/storage-initializer-sourceuri"
TIMEOUT_SECONDS = 300
"""Knative's default for the response's start."""

_NOT_OF_THE_CONTAINER = frozenset(
    ("modelFormat", "runtime", "storageUri", "runtimeVersion", "protocolVersion", "storage", "confidential", "name")
)
_NEVER_COPIED = frozenset(
    (
        MIN_SCALE_ANNOTATION,
        MAX_SCALE_ANNOTATION,
        SOURCE_ANNOTATION,
        "kubectl.kubernetes.io/last-applied-configuration",
        "modelFormat",
        "serving.knative.dev/rollout-duration",
        "networking.knative.dev/visibility",
    )
)
"""Annotations and labels of the InferenceService that do not reach its pods."""
_PLACEHOLDER = re.compile(r"\{\{\s*\.(Name|Namespace|Labels\.[\w.-]+|Annotations\.[\w.-]+)\s*\}\}")


def template_for(service: Object, runtime: Object | None) -> Object:
    """Return a predictor's template: ``metadata`` (labels, annotations) and ``spec`` (a revision's).

    Args:
        service: the InferenceService, defaulted.
        runtime: the ServingRuntime or ClusterServingRuntime; None for custom containers.

    Raises:
        InvalidInput: the service or its runtime can't be made into a pod; the reason is one for the Ready condition.
    """
    predictor = service["spec"]["predictor"]
    labels = {**_labels_by_server_type(predictor, runtime)}
    pod = _pod_of_runtime(service, predictor, runtime, labels) if runtime is not None else _pod_of_containers(predictor)
    server = pod["containers"][0]
    uri = _take_source(predictor, server)
    merge_list(server.setdefault("env", []), [{"name": "INFERENCE_SERVICE_NAME", "value": service["metadata"]["name"]}], "name")
    annotations = _annotations(service, predictor, runtime)
    if uri:
        annotations[SOURCE_ANNOTATION] = uri
        _add_initializer(pod, server, uri)
    labels |= _copied(((runtime or {}).get("spec") or {}).get("labels"), service["metadata"].get("labels"), predictor.get("labels"))
    labels |= {SERVICE_LABEL: service["metadata"]["name"], COMPONENT_LABEL: "predictor"}
    spec = {
        **pod,
        "timeoutSeconds": int(predictor.get("timeout") or TIMEOUT_SECONDS),
        "containerConcurrency": int(predictor.get("containerConcurrency") or 0),
    }
    return {"metadata": {"labels": labels, "annotations": annotations}, "spec": spec}


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
    protocol = effective_protocol(model, runtime)
    if _server_type(runtime) == "torchserve":
        merge_list(server.setdefault("env", []), [{"name": "PROTOCOL_VERSION", "value": protocol}], "name")
    server = _fill_placeholders(server, service["metadata"], labels)
    own = {each["name"]: each for each in predictor.get("containers") or ()}
    others = [merge_containers(each, own.pop(each["name"], {})) for each in spec["containers"] if each["name"] != SERVER_CONTAINER]
    pod: Object = {
        name: copy.deepcopy(spec[name]) for name in POD_SPEC_FIELDS if name in spec and name not in ("containers", "initContainers")
    }
    _overlay_pod(pod, predictor)
    pod["containers"] = [server, *others, *copy.deepcopy(list(own.values()))]
    return pod


def _pod_of_containers(predictor: Object) -> Object:
    pod: Object = {}
    _overlay_pod(pod, predictor)
    pod["containers"] = copy.deepcopy(predictor["containers"])
    return pod


def _overlay_pod(pod: Object, predictor: Object) -> None:
    for name in POD_SPEC_FIELDS:
        if name in predictor and name not in ("containers", "initContainers", "resources"):
            merge_value(pod, name, predictor[name])


def _server_type(runtime: Object) -> str:
    metadata = runtime["metadata"]
    return (metadata.get("annotations") or {}).get(SERVER_TYPE_ANNOTATION) or str(metadata["name"]).removeprefix("kserve-")


def _labels_by_server_type(predictor: Object, runtime: Object | None) -> dict[str, str]:
    """Return what the runtime's placeholders expect: TorchServe's envelope goes by the protocol."""
    if runtime is None or _server_type(runtime) != "torchserve":
        return {}
    is_v1 = effective_protocol(predictor["model"], runtime) == "v1"
    return {"serviceEnvelope": "kserve" if is_v1 else "kservev2"}


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


def _take_source(predictor: Object, server: Object) -> str:
    """Return what is to be fetched, or nothing; a custom container asks for it by its variable STORAGE_URI, which then names the place."""
    model = predictor.get("model")
    if model is not None:
        if model.get("storage") or predictor.get("storageUris"):
            field = "model.storage" if model.get("storage") else "storageUris"
            raise InvalidInput(f"spec.predictor.{field} is not supported yet", hint="use storageUri", reason="StorageNotSupported")
        return str(model.get("storageUri") or "")
    for variable in server.get("env") or ():
        if variable["name"] == "STORAGE_URI" and variable.get("value"):
            uri = str(variable["value"])
            variable["value"] = MODELS_PATH
            return uri
    return ""


def _add_initializer(pod: Object, server: Object, uri: str) -> None:
    mount = {"name": MODEL_VOLUME, "mountPath": MODELS_PATH}
    merge_list(pod.setdefault("volumes", []), [{"name": MODEL_VOLUME, "emptyDir": {}}], "name")
    merge_list(server.setdefault("volumeMounts", []), [{**mount, "readOnly": True}], "mountPath")
    pod["initContainers"] = [
        {"name": INITIALIZER_CONTAINER, "image": "flambeau/storage-initializer", "args": [uri, MODELS_PATH], "volumeMounts": [mount]}
    ]


def _annotations(service: Object, predictor: Object, runtime: Object | None) -> dict[str, str]:
    runtime_annotations = ((runtime or {}).get("spec") or {}).get("annotations")
    annotations = {
        "autoscaling.knative.dev/class": "kpa.autoscaling.knative.dev",
        **_copied(runtime_annotations, service["metadata"].get("annotations"), predictor.get("annotations")),
    }
    least = predictor.get("minReplicas")
    annotations[MIN_SCALE_ANNOTATION] = str(1 if least is None else least)
    if predictor.get("maxReplicas"):
        annotations[MAX_SCALE_ANNOTATION] = str(predictor["maxReplicas"])
    for field, name in (("scaleTarget", "target"), ("scaleMetric", "metric")):
        if predictor.get(field) is not None:
            annotations[f"autoscaling.knative.dev/{name}"] = str(predictor[field])
    return annotations


def _copied(*maps: Mapping[str, str] | None) -> dict[str, str]:
    merged: dict[str, str] = {}
    for each in maps:
        merged.update({name: value for name, value in (each or {}).items() if name not in _NEVER_COPIED})
    return merged
