"""InferenceService (KServe): a model to serve. ``inference_service_check`` says what is wrong with one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flambeau.control.resources.age import AGE_COLUMN
from flambeau.control.resources.conditions import get_condition
from flambeau.control.resources.fields.inference import FRAMEWORKS, INFERENCE_SERVICE_SPEC
from flambeau.control.resources.fields.words import ANYTHING
from flambeau.control.resources.inference_service_check import (
    COMPONENTS,
    DEPLOYMENT_MODE_ANNOTATION,
    DEPLOYMENT_MODES_BY_OLD_NAME,
    check,
)
from flambeau.control.resources.kind import Column, Kind, Object
from flambeau.control.resources.lookup import find, mappings_at
from flambeau.control.resources.object_schema import object_schema
from flambeau.control.resources.pod_template import name_first_container

_V2_FRAMEWORKS = ("triton", "onnx", "huggingface")
_V2_FORMATS = ("triton", "vLLM")


def _traffic(obj: Object, field: str, **wanted: Any) -> Any:
    """Return a field of the first traffic entry that has the wanted values, as KServe's columns do by JSONPath."""

    def matches(entry: Mapping[str, Any]) -> bool:
        return all(entry.get(name) == value for name, value in wanted.items())

    traffic = mappings_at(obj, "status", "components", "predictor", "traffic")
    return next((entry.get(field) for entry in traffic if matches(entry)), None)


def _default(obj: Object) -> None:
    """Bring old ways of writing into the one form that everything behind the door reads."""
    _rename_deployment_mode(obj)
    for component in COMPONENTS:
        part = find(obj, "spec", component)
        if isinstance(part, dict):
            _default_component(part)
    for predictor in (find(obj, "spec", "predictor"), *(entry.get("predictor") for entry in mappings_at(obj, "spec", "canary"))):
        if isinstance(predictor, dict):
            _default_predictor(predictor)
    for component in COMPONENTS:
        part = find(obj, "spec", component)
        if isinstance(part, dict) and part.get("model") is None and part.get("art") is None:
            name_first_container(part)


def _default_predictor(predictor: Object) -> None:
    _move_framework(predictor)
    model = predictor.get("model")
    if isinstance(model, dict) and find(model, "modelFormat", "name") in _V2_FORMATS and not model.get("protocolVersion"):
        model["protocolVersion"] = "v2"


def _rename_deployment_mode(obj: Object) -> None:
    annotations = find(obj, "metadata", "annotations")
    if isinstance(annotations, dict):
        mode = annotations.get(DEPLOYMENT_MODE_ANNOTATION)
        if isinstance(mode, str) and mode in DEPLOYMENT_MODES_BY_OLD_NAME:
            annotations[DEPLOYMENT_MODE_ANNOTATION] = DEPLOYMENT_MODES_BY_OLD_NAME[mode]


def _default_component(part: Object) -> None:
    """A logger without a mode logs everything. (KServe lets it into the schema and then refuses it.)"""
    logger = part.get("logger")
    if isinstance(logger, dict) and not logger.get("mode"):
        logger["mode"] = "all"


def _move_framework(predictor: Object) -> None:
    """Turn ``pytorch: {storageUri: …}`` into ``model: {modelFormat: {name: pytorch}, …}``.

    ``kubectl apply`` of the same file again brings the old field back next to the model it became; it then wins. A model of another
    format stays, for the check to say that there are two.
    """
    used = [name for name in FRAMEWORKS if isinstance(predictor.get(name), dict)]
    if len(used) != 1:
        return
    framework = used[0]
    if predictor.get("model") is not None and find(predictor, "model", "modelFormat", "name") != framework:
        return
    model = {**predictor.pop(framework), "modelFormat": {"name": framework}}
    if framework in _V2_FRAMEWORKS:
        model.setdefault("protocolVersion", "v2")
    predictor["model"] = model


INFERENCE_SERVICE = Kind(
    group="serving.kserve.io",
    versions=("v1beta1",),
    kind="InferenceService",
    plural="inferenceservices",
    singular="inferenceservice",
    short_names=("isvc",),
    columns=(
        Column("URL", lambda obj, _: find(obj, "status", "url")),
        Column("Ready", lambda obj, _: (get_condition(obj, "Ready") or {}).get("status")),
        Column("Prev", lambda obj, _: _traffic(obj, "percent", tag="prev"), type="integer"),
        Column("Latest", lambda obj, _: _traffic(obj, "percent", latestRevision=True), type="integer"),
        Column("PrevRolledoutRevision", lambda obj, _: _traffic(obj, "revisionName", tag="prev")),
        Column("LatestReadyRevision", lambda obj, _: _traffic(obj, "revisionName", latestRevision=True)),
        AGE_COLUMN,
    ),
    schema=object_schema(
        {"spec": INFERENCE_SERVICE_SPEC, "status": ANYTHING},
        required=("spec",),
        description="A model that is served: where it is, what runs it, and how requests come to it.",
    ),
    default=_default,
    check=check,
)
