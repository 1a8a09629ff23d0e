"""ConfigMap: settings as text."""

from __future__ import annotations

from flambeau.control.resources.age import AGE_COLUMN
from flambeau.control.resources.kind import Column, Kind, Object
from flambeau.control.resources.lookup import find


def _entries(obj: Object, _: float) -> int:
    return len(find(obj, "data") or ()) + len(find(obj, "binaryData") or ())


CONFIG_MAP = Kind(
    group="",
    versions=("v1",),
    kind="ConfigMap",
    plural="configmaps",
    singular="configmap",
    short_names=("cm",),
    columns=(Column("Data", _entries, type="integer"), AGE_COLUMN),
    has_status=False,
)
