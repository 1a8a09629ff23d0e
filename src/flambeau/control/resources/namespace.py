"""Namespace: a room for objects; goes when its last object has gone."""

from __future__ import annotations

from flambeau.control.resources.age import AGE_COLUMN
from flambeau.control.resources.fields.words import ANYTHING, STRING, an_object, list_of
from flambeau.control.resources.kind import Column, Kind, Object
from flambeau.control.resources.lookup import find
from flambeau.control.resources.object_schema import object_schema

_NAME_LABEL = "kubernetes.io/metadata.name"

_SCHEMA = {"spec": an_object({"finalizers": list_of(STRING)}), "status": ANYTHING}


def _phase(obj: Object, _: float) -> str:
    return str(find(obj, "status", "phase") or "Active")


def _default(obj: Object) -> None:
    """Label it with its name and call it active, as Kubernetes does."""
    metadata = obj.get("metadata")
    if isinstance(metadata, dict) and isinstance(metadata.get("name"), str):
        labels = metadata.setdefault("labels", {})
        if isinstance(labels, dict):
            labels.setdefault(_NAME_LABEL, metadata["name"])
    obj.setdefault("status", {"phase": "Active"})


NAMESPACE = Kind(
    group="",
    versions=("v1",),
    kind="Namespace",
    plural="namespaces",
    singular="namespace",
    namespaced=False,
    short_names=("ns",),
    columns=(Column("Status", _phase), AGE_COLUMN),
    schema=object_schema(_SCHEMA),
    default=_default,
)
