"""ServingRuntime and ClusterServingRuntime: which image serves which model format, and how."""

from __future__ import annotations

from collections.abc import Callable

from flambeau.control.resources.age import AGE_COLUMN
from flambeau.control.resources.kind import Column, Kind, Object
from flambeau.control.resources.lookup import find, mappings_at


def _first_name(*path: str) -> Callable[[Object, float], str | None]:
    """Custom columns show the first match of a JSONPath only."""

    def cell(obj: Object, _: float) -> str | None:
        entries = mappings_at(obj, *path)
        return str(entries[0].get("name", "")) if entries else None

    return cell


_COLUMNS = (
    Column("Disabled", lambda obj, _: find(obj, "spec", "disabled"), type="boolean"),
    Column("ModelType", _first_name("spec", "supportedModelFormats")),
    Column("Containers", _first_name("spec", "containers")),
    AGE_COLUMN,
)

SERVING_RUNTIME = Kind(
    group="serving.kserve.io",
    versions=("v1alpha1",),
    kind="ServingRuntime",
    plural="servingruntimes",
    singular="servingruntime",
    columns=_COLUMNS,
)

CLUSTER_SERVING_RUNTIME = Kind(
    group="serving.kserve.io",
    versions=("v1alpha1",),
    kind="ClusterServingRuntime",
    plural="clusterservingruntimes",
    singular="clusterservingruntime",
    namespaced=False,
    columns=_COLUMNS,
)
