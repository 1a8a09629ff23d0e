"""What is wrong with an InferenceService, said when it is applied. Pure.

KServe finds part of this only when it reconciles, and says it where nobody looks; here it is refused at the door. What only the cluster
or the network can tell (a missing secret, an unknown format, a bucket that isn't there) is for the controllers to say in the status.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from flambeau.control.resources.cluster_storage_container import UNKNOWN_SCHEME
from flambeau.control.resources.fields.inference import FRAMEWORKS
from flambeau.control.resources.inference_service_aside import aside_warnings, check_aside, check_shadow
from flambeau.control.resources.inference_service_canary import check_canaries
from flambeau.control.resources.inference_service_scaling import check_replicas, check_scaling, scaling_warnings
from flambeau.control.resources.kind import Finding, Object, Review
from flambeau.control.resources.lookup import find, mappings_at
from flambeau.control.resources.object_meta import LABEL_CHARS_MAX
from flambeau.control.resources.pod_template import (
    SERVER_CONTAINER,
    TRANSFORMER_CONTAINER,
    containers_with_paths,
    environment_value,
    forbidden_environment,
    image_warnings,
    no_effect_warning,
)
from flambeau.foundation.errors import InvalidInput
from flambeau.storage.uri import validate_uri

COMPONENTS = ("predictor", "transformer", "explainer")

DEPLOYMENT_MODE_ANNOTATION = "serving.kserve.io/deploymentMode"
DEPLOYMENT_MODES_BY_OLD_NAME = {"RawDeployment": "Standard", "Serverless": "Knative"}
_DEPLOYMENT_MODES = ("Knative", "Standard")

TIMEOUT_SECONDS_MAX = 600
"""Knative's limit; KServe lets more through and never becomes ready."""

_NAME = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")
_LOGGER_STORAGE_FIELDS = ("path", "parameters", "key")


def check(obj: Object, old: Object | None) -> Review:
    """Return what refuses an InferenceService, and what in it has no effect here."""
    spec = find(obj, "spec")
    if not isinstance(spec, dict):
        return Review()
    mode = deployment_mode(obj)
    errors = [*_check_name(obj), *_check_mode(obj, old, mode), *check_shadow(obj)]
    warnings = [*_warnings_about_spec(spec, mode)]
    for component in COMPONENTS:
        part = spec.get(component)
        if isinstance(part, dict):
            path = f"spec.{component}"
            errors += _check_component(component, part, path)
            errors += check_replicas(part, path)
            errors += check_scaling(obj, part, path, mode)
            errors += check_aside(part, path)
            warnings += no_effect_warning(part, path)
            warnings += (*aside_warnings(part, path), *scaling_warnings(obj, part, path, mode))
            warnings += (text for container, place in _all_containers(part, path) for text in image_warnings(container, place))
    predictor = spec.get("predictor")
    if isinstance(predictor, dict):
        errors += _check_predictor(predictor, "spec.predictor")
        errors += check_canaries(spec, mode)
    return Review(tuple(errors), tuple(warnings))


def deployment_mode(obj: Object) -> str:
    """Return ``Knative`` or ``Standard``: what the annotation says, else Knative."""
    mode = find(obj, "metadata", "annotations", DEPLOYMENT_MODE_ANNOTATION)
    if not isinstance(mode, str) or not mode:
        return _DEPLOYMENT_MODES[0]
    return DEPLOYMENT_MODES_BY_OLD_NAME.get(mode, mode)


def _check_name(obj: Object) -> Iterator[Finding]:
    """The name, and what is made of it, must be DNS labels."""
    name = find(obj, "metadata", "name")
    if not isinstance(name, str):
        return
    if not _NAME.fullmatch(name):
        yield Finding("metadata.name", "must be lower case letters, digits and -, begin with a letter and end with a letter or digit", name)
        return
    canaries = [("predictor", find(entry, "predictor", "name")) for entry in mappings_at(obj, "spec", "canary")]
    components = [(each, find(obj, "spec", each, "name")) for each in COMPONENTS if isinstance(find(obj, "spec", each), dict)]
    for component, variant in (*components, *canaries):
        derived = f"{name}-{variant}-{component}" if isinstance(variant, str) and variant else f"{name}-{component}"
        excess = len(derived) - LABEL_CHARS_MAX
        if excess > 0:
            message = (
                f"is too long by {excess}: {derived} becomes a label of a host name, which has at most {LABEL_CHARS_MAX} characters;"
                f" use at most {len(name) - excess}"
            )
            yield Finding("metadata.name", message, name, "FieldValueTooLong")
            return


def _check_mode(obj: Object, old: Object | None, mode: str) -> Iterator[Finding]:
    path = f"metadata.annotations[{DEPLOYMENT_MODE_ANNOTATION}]"
    if mode not in _DEPLOYMENT_MODES:
        yield Finding(path, f"must be one of {', '.join(_DEPLOYMENT_MODES)}", mode, "FieldValueNotSupported")
        return
    settled = find(old, "status", "deploymentMode") if old is not None else None
    if settled and settled != mode:
        yield Finding(path, f"cannot change from {settled} to {mode}: delete the InferenceService and create it anew", mode)


# -- each component --


def _check_component(component: str, part: Object, path: str) -> Iterator[Finding]:
    yield from _check_implementations(component, part, path)
    for container, place in _all_containers(part, path):
        yield from forbidden_environment(container, place, ("PYTHONPATH",))
    timeout = part.get("timeout")
    if isinstance(timeout, int) and not 0 <= timeout <= TIMEOUT_SECONDS_MAX:
        yield Finding(f"{path}.timeout", f"must be from 0 to {TIMEOUT_SECONDS_MAX} seconds", timeout)
    percent = part.get("canaryTrafficPercent")
    if isinstance(percent, int) and not 0 <= percent <= 100:
        yield Finding(f"{path}.canaryTrafficPercent", "must be from 0 to 100", percent)
    storage = find(part, "logger", "storage")
    if isinstance(storage, dict):
        for field in _LOGGER_STORAGE_FIELDS:
            if not storage.get(field):
                yield Finding(f"{path}.logger.storage.{field}", "is required", reason="FieldValueRequired")
    yield from _check_storage(part, path)


def _check_implementations(component: str, part: Object, path: str) -> Iterator[Finding]:
    """Exactly one of a framework, a model, an explainer of a known kind, or containers."""
    named = ["model", *FRAMEWORKS] if component == "predictor" else ["art"] if component == "explainer" else []
    found = [name for name in named if part.get(name) is not None]
    containers = mappings_at(part, "containers")
    if containers and (not found or any(container.get("name") == SERVER_CONTAINER for container in containers)):
        found.append("containers")
    if len(found) == 1:
        return
    wanted = {"predictor": "model or containers", "explainer": "art or containers"}.get(component, "containers")
    has = f"it has {' and '.join(found)}" if found else "it has none of them"
    yield Finding(path, f"must have exactly one of {wanted}: {has}", reason="FieldValueInvalid" if found else "FieldValueRequired")


def _check_storage(part: Object, path: str) -> Iterator[Finding]:
    """URIs that can be read, and places to put them that make sense."""
    model = find(part, "model")
    if isinstance(model, dict):
        if model.get("storageUri") and mappings_at(part, "storageUris"):
            yield Finding(f"{path}.storageUris", f"cannot be used together with {path}.model.storageUri", reason="FieldValueForbidden")
        if find(model, "confidential", "enabled") and not model.get("storageUri"):
            yield Finding(f"{path}.model.storageUri", "is required with confidential", reason="FieldValueRequired")
    for place, uri in _uris(part, path):
        try:
            validate_uri(uri)
        except InvalidInput as error:
            yield Finding(place, str(error), uri, UNKNOWN_SCHEME if error.reason == "UnsupportedScheme" else "FieldValueInvalid")
    yield from _check_mount_paths(mappings_at(part, "storageUris"), f"{path}.storageUris")


def _uris(part: Object, path: str) -> Iterator[tuple[str, str]]:
    """Yield every model URI of a component with its path."""
    for name in ("model", *FRAMEWORKS, "art"):
        uri = find(part, name, "storageUri")
        if isinstance(uri, str):
            yield f"{path}.{name}.storageUri", uri
    for index, entry in enumerate(mappings_at(part, "storageUris")):
        if isinstance(entry.get("uri"), str):
            yield f"{path}.storageUris[{index}].uri", entry["uri"]
    for container, place in containers_with_paths(part, path):
        uri = environment_value(container, "STORAGE_URI")
        if uri is not None:
            yield f"{place}.env[STORAGE_URI]", uri


def _check_mount_paths(entries: list[Object], path: str) -> Iterator[Finding]:
    places: list[str] = []
    for index, entry in enumerate(entries):
        place = entry.get("mountPath")
        if not isinstance(place, str):
            continue
        if not place.startswith("/") or place.rstrip("/") == "" or ".." in place.split("/"):
            yield Finding(f"{path}[{index}].mountPath", "must be absolute, not /, and without '..'", place)
        else:
            places.append(place)
    if len({place.split("/")[1] for place in places}) > 1:
        yield Finding(path, f"the mountPaths need a common parent other than /: {', '.join(places)}")


# -- the predictor --


def _check_predictor(predictor: Object, path: str) -> Iterator[Finding]:
    containers = mappings_at(predictor, "containers")
    is_collocated = any(container.get("name") == TRANSFORMER_CONTAINER for container in containers)
    for index, container in enumerate(containers):
        if container.get("name") == TRANSFORMER_CONTAINER:
            yield from forbidden_environment(container, f"{path}.containers[{index}]", ("STORAGE_URI",))
    model = predictor.get("model")
    if not isinstance(model, dict):
        yield from _check_protocol_variable(containers, path)
        return
    if is_collocated and model.get("name"):
        yield Finding(f"{path}.model.name", "may not be set next to a transformer container", model["name"], "FieldValueForbidden")
    if not find(model, "modelFormat", "name"):
        yield Finding(f"{path}.model.modelFormat.name", "is required: say pytorch, for example", reason="FieldValueRequired")


def _check_protocol_variable(containers: list[Object], path: str) -> Iterator[Finding]:
    for index, container in enumerate(containers):
        protocol = environment_value(container, "PROTOCOL")
        if protocol is not None and protocol not in ("v1", "v2"):
            place = f"{path}.containers[{index}].env[PROTOCOL]"
            yield Finding(place, "must be v1 or v2", protocol, "FieldValueNotSupported")


# -- what has no effect --


def _warnings_about_spec(spec: Object, mode: str) -> Iterator[str]:
    if find(spec, "predictor", "canaryTrafficPercent") is not None and mode != "Knative":
        yield f"spec.predictor.canaryTrafficPercent: has no effect in deployment mode {mode}"
    if find(spec, "predictor", "workerSpec"):
        yield "spec.predictor.workerSpec: has no effect on one machine"


def _all_containers(part: Object, path: str) -> Iterator[tuple[dict[str, Any], str]]:
    """Yield each container of a component with its path: those listed, and what ``model`` says about the server."""
    for name in ("model", *FRAMEWORKS, "art"):
        if isinstance(part.get(name), dict):
            yield part[name], f"{path}.{name}"
    yield from containers_with_paths(part, path)
