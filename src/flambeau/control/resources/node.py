"""Node: this machine, the only one there is. Written by the agent."""

from __future__ import annotations

from flambeau.control.resources.age import AGE_COLUMN
from flambeau.control.resources.conditions import get_condition
from flambeau.control.resources.fields.words import ANYTHING
from flambeau.control.resources.kind import Column, Kind, Object
from flambeau.control.resources.lookup import find, mappings_at
from flambeau.control.resources.object_schema import object_schema

_ROLE_LABEL = "node-role.kubernetes.io/"


def _roles(obj: Object, _: float) -> str:
    labels = find(obj, "metadata", "labels") or {}
    return ",".join(sorted(name.removeprefix(_ROLE_LABEL) for name in labels if name.startswith(_ROLE_LABEL))) or "<none>"


def _address(type: str) -> Column:
    def cell(obj: Object, _: float) -> str:
        found = (each.get("address") for each in mappings_at(obj, "status", "addresses") if each.get("type") == type)
        return str(next(found, "<none>"))

    return Column({"InternalIP": "Internal-IP", "ExternalIP": "External-IP"}[type], cell, wide=True)


def _info(name: str, field: str) -> Column:
    return Column(name, lambda obj, _: str(find(obj, "status", "nodeInfo", field) or "<unknown>"), wide=True)


NODE = Kind(
    group="",
    versions=("v1",),
    kind="Node",
    plural="nodes",
    singular="node",
    namespaced=False,
    short_names=("no",),
    columns=(
        Column("Status", lambda obj, _: "Ready" if (get_condition(obj, "Ready") or {}).get("status") == "True" else "NotReady"),
        Column("Roles", _roles),
        AGE_COLUMN,
        Column("Version", lambda obj, _: find(obj, "status", "nodeInfo", "kubeletVersion")),
        _address("InternalIP"),
        _address("ExternalIP"),
        _info("OS-Image", "osImage"),
        _info("Kernel-Version", "kernelVersion"),
        _info("Container-Runtime", "containerRuntimeVersion"),
    ),
    schema=object_schema({"spec": ANYTHING, "status": ANYTHING}),
    read_only=True,
    instead_of_writing="this machine is the only node: flambeau up and its end are all that happens to it",
)
