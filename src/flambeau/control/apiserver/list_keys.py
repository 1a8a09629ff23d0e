"""Which lists are maps in disguise, and by which fields their items are told apart. Pure.

Used by strategic merge patches and by server-side apply. Kubernetes has this in each type's schema; the names below mean the same in every
kind that is served here.
"""

from __future__ import annotations

from typing import Any

_KEYS: dict[str, tuple[tuple[str, ...], ...]] = {
    "containers": (("name",),),
    "initContainers": (("name",),),
    "ephemeralContainers": (("name",),),
    "volumes": (("name",),),
    "env": (("name",),),
    "imagePullSecrets": (("name",),),
    "secrets": (("name",),),
    "volumeMounts": (("mountPath",),),
    "volumeDevices": (("devicePath",),),
    "hostAliases": (("ip",),),
    "ownerReferences": (("uid",),),
    "conditions": (("type",),),
    # A container's ports, then a Service's; the first whose fields all items have counts.
    "ports": (("containerPort", "protocol"), ("port", "protocol")),
}
_DEFAULTS = {"protocol": "TCP"}
_SETS = frozenset(("finalizers",))


def is_set(field: str) -> bool:
    """Tell whether a list is a set of plain values."""
    return field in _SETS


def merge_keys(field: str, items: list[Any]) -> tuple[str, ...] | None:
    """Return the fields that tell a list's items apart, or None where the list is one value.

    Args:
        field: the list's name.
        items: all items concerned; each must have the keys.
    """
    for keys in _KEYS.get(field, ()):
        if all(isinstance(item, dict) and all(_has(item, key) for key in keys) for item in items):
            return keys
    return None


def _has(item: dict[str, Any], key: str) -> bool:
    value = item.get(key, _DEFAULTS.get(key))
    return value is not None and not isinstance(value, dict | list)


def identity(item: dict[str, Any], keys: tuple[str, ...]) -> tuple[Any, ...]:
    """Return what tells an item from its siblings."""
    return tuple(item.get(key, _DEFAULTS.get(key)) for key in keys)
