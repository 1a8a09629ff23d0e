"""Deployment and ReplicaSet: a revision's pods as kubectl users look for them. Written by controllers only."""

from __future__ import annotations

from flambeau.control.resources.age import AGE_COLUMN
from flambeau.control.resources.fields.words import ANYTHING
from flambeau.control.resources.kind import Column, Kind, Object
from flambeau.control.resources.lookup import find, mapping_at, mappings_at
from flambeau.control.resources.object_schema import object_schema


def _number(obj: Object, *path: str) -> int:
    return int(find(obj, *path) or 0)


def _selector(obj: Object, _: float) -> str:
    labels = mapping_at(obj, "spec", "selector", "matchLabels")
    return ",".join(f"{name}={labels[name]}" for name in sorted(labels)) or "<none>"


def _containers(field: str) -> Column:
    def cell(obj: Object, _: float) -> str:
        return ",".join(str(each.get(field, "")) for each in mappings_at(obj, "spec", "template", "spec", "containers"))

    return Column({"name": "Containers", "image": "Images"}[field], cell, wide=True)


_POD_COLUMNS = (_containers("name"), _containers("image"), Column("Selector", _selector, wide=True))
_SCHEMA = object_schema({"spec": ANYTHING, "status": ANYTHING})

_INSTEAD = "apply an InferenceService; flambeau rollout restart|undo|status NAME rolls it, spec.predictor.minReplicas scales it"

DEPLOYMENT = Kind(
    group="apps",
    versions=("v1",),
    kind="Deployment",
    plural="deployments",
    singular="deployment",
    short_names=("deploy",),
    categories=("all",),
    columns=(
        Column("Ready", lambda obj, _: f"{_number(obj, 'status', 'readyReplicas')}/{_number(obj, 'spec', 'replicas')}"),
        Column("Up-to-date", lambda obj, _: _number(obj, "status", "updatedReplicas"), type="integer"),
        Column("Available", lambda obj, _: _number(obj, "status", "availableReplicas"), type="integer"),
        AGE_COLUMN,
        *_POD_COLUMNS,
    ),
    schema=_SCHEMA,
    read_only=True,
    instead_of_writing=_INSTEAD,
)

REPLICA_SET = Kind(
    group="apps",
    versions=("v1",),
    kind="ReplicaSet",
    plural="replicasets",
    singular="replicaset",
    short_names=("rs",),
    categories=("all",),
    columns=(
        Column("Desired", lambda obj, _: _number(obj, "spec", "replicas"), type="integer"),
        Column("Current", lambda obj, _: _number(obj, "status", "replicas"), type="integer"),
        Column("Ready", lambda obj, _: _number(obj, "status", "readyReplicas"), type="integer"),
        AGE_COLUMN,
        *_POD_COLUMNS,
    ),
    schema=_SCHEMA,
    read_only=True,
    instead_of_writing=_INSTEAD,
)
