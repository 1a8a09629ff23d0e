"""Namespace: a room for objects; goes when its last object has gone."""

from __future__ import annotations

from flambeau.control.resources.age import AGE_COLUMN
from flambeau.control.resources.kind import Column, Kind, Object
from flambeau.control.resources.lookup import find


def _phase(obj: Object, _: float) -> str:
    return str(find(obj, "status", "phase") or "Active")


NAMESPACE = Kind(
    group="",
    versions=("v1",),
    kind="Namespace",
    plural="namespaces",
    singular="namespace",
    namespaced=False,
    short_names=("ns",),
    columns=(Column("Status", _phase), AGE_COLUMN),
)
