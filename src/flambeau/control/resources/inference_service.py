"""InferenceService (KServe): a model to serve."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flambeau.control.resources.age import AGE_COLUMN
from flambeau.control.resources.conditions import get_condition
from flambeau.control.resources.kind import Column, Kind, Object
from flambeau.control.resources.lookup import find, mappings_at


def _traffic(obj: Object, field: str, **wanted: Any) -> Any:
    """Return a field of the first traffic entry that has the wanted values, as KServe's columns do by JSONPath."""

    def matches(entry: Mapping[str, Any]) -> bool:
        return all(entry.get(name) == value for name, value in wanted.items())

    traffic = mappings_at(obj, "status", "components", "predictor", "traffic")
    return next((entry.get(field) for entry in traffic if matches(entry)), None)


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
)
