"""TrainedModel (KServe): one more model for an InferenceService that runs, loaded into its server."""

from __future__ import annotations

import re
from collections.abc import Iterator

from flambeau.control.resources.age import AGE_COLUMN
from flambeau.control.resources.conditions import get_condition
from flambeau.control.resources.fields.graphs import TRAINED_MODEL_SPEC
from flambeau.control.resources.fields.words import ANYTHING
from flambeau.control.resources.kind import Column, Finding, Kind, Object, Review
from flambeau.control.resources.lookup import find
from flambeau.control.resources.object_schema import object_schema
from flambeau.foundation.errors import InvalidInput
from flambeau.storage.uri import validate_uri

_NAME = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")


def _check(obj: Object, old: Object | None) -> Review:
    return Review((*_check_new(obj), *_check_change(obj, old)))


def _check_new(obj: Object) -> Iterator[Finding]:
    name, uri = find(obj, "metadata", "name"), find(obj, "spec", "model", "storageUri")
    if isinstance(name, str) and not _NAME.fullmatch(name):
        yield Finding("metadata.name", "must be lower case letters, digits and -, begin with a letter and end with a letter or digit", name)
    if not find(obj, "spec", "inferenceService"):
        yield Finding("spec.inferenceService", "is required: the InferenceService that serves the model", reason="FieldValueRequired")
    if isinstance(uri, str):
        try:
            validate_uri(uri)
        except InvalidInput as error:
            yield Finding("spec.model.storageUri", str(error), uri)


def _check_change(obj: Object, old: Object | None) -> Iterator[Finding]:
    if old is None:
        return
    was, now = find(old, "spec", "model", "memory"), find(obj, "spec", "model", "memory")
    if str(was) != str(now):
        message = f"cannot change from {was} to {now}: delete the TrainedModel and create it anew"
        yield Finding("spec.model.memory", message, now, "FieldValueForbidden")


TRAINED_MODEL = Kind(
    group="serving.kserve.io",
    versions=("v1alpha1",),
    kind="TrainedModel",
    plural="trainedmodels",
    singular="trainedmodel",
    short_names=("tm",),
    columns=(
        Column("URL", lambda obj, _: find(obj, "status", "url")),
        Column("Ready", lambda obj, _: (get_condition(obj, "Ready") or {}).get("status")),
        AGE_COLUMN,
    ),
    schema=object_schema(
        {"spec": TRAINED_MODEL_SPEC, "status": ANYTHING},
        required=("spec",),
        description="One more model in the server of an InferenceService that runs already.",
    ),
    check=_check,
)
