"""Kubernetes' strategic merge, as far as pods need it. Pure."""

from __future__ import annotations

import copy
from typing import Any

from flambeau.control.resources.kind import Object

_LIST_KEYS = {"env": "name", "volumeMounts": "mountPath", "ports": "containerPort", "volumes": "name", "imagePullSecrets": "name"}
"""Lists that merge entry by entry, and by which field."""


def merge_containers(base: Object, overlay: Object) -> Object:
    """Return a container with another's fields laid over it: arguments are appended, a command replaces, keyed lists and maps merge."""
    merged = copy.deepcopy(base)
    for name, value in overlay.items():
        if name == "args":
            merged["args"] = [*(merged.get("args") or ()), *value]
        else:
            merge_value(merged, name, value)
    return merged


def merge_value(target: Object, name: str, value: Any) -> None:
    """Lay a value over a field of an object, in place: keyed lists and maps merge, anything else is replaced."""
    old = target.get(name)
    if name in _LIST_KEYS and isinstance(old, list):
        merge_list(old, value, _LIST_KEYS[name])
    elif isinstance(old, dict) and isinstance(value, dict):
        for key, inner in value.items():
            merge_value(old, key, inner)
    else:
        target[name] = copy.deepcopy(value)


def merge_list(target: list[Object], overlay: list[Object], key: str) -> None:
    """Lay entries over those with the same key, in place; an entry of ``env`` is replaced as a whole, new ones go to the end."""
    places = {entry.get(key): index for index, entry in enumerate(target)}
    for entry in overlay:
        index = places.get(entry.get(key))
        if index is None:
            target.append(copy.deepcopy(entry))
        elif "value" in entry or "valueFrom" in entry:
            target[index] = copy.deepcopy(entry)
        else:
            target[index] = {**target[index], **copy.deepcopy(entry)}
