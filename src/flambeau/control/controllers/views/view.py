"""An object that is looked at, and those that it owns. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from flambeau.control.controllers.names import ROUTING_STATE_LABEL
from flambeau.control.resources.kind import Kind, Object


@dataclass(frozen=True, slots=True)
class View:
    """An object to be, and those that it owns."""

    kind: Kind
    obj: Object
    """Without owner."""
    children: tuple[View, ...] = ()


def view_object(kind: Kind, name: str, like: Object, spec: Object, status: Object) -> Object:
    """Return an object with the labels of another one."""
    labels = {label: value for label, value in like["metadata"]["labels"].items() if label != ROUTING_STATE_LABEL}
    return {
        "apiVersion": kind.api_version,
        "kind": kind.kind,
        "metadata": {"name": name, "labels": labels},
        "spec": spec,
        "status": status,
    }
