"""Reading a field deep inside an object that may not have it. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flambeau.control.resources.kind import Object


def find(obj: Mapping[str, Any], *path: str) -> Any:
    """Return the value at a path of field names, or None where the path ends early."""
    value: Any = obj
    for name in path:
        if not isinstance(value, Mapping):
            return None
        value = value.get(name)
    return value


def mapping_at(obj: Mapping[str, Any], *path: str) -> Object:
    """Return the object at a path; empty where it is missing or something else."""
    value = find(obj, *path)
    return value if isinstance(value, dict) else {}


def mappings_at(obj: Mapping[str, Any], *path: str) -> list[Object]:
    """Return the objects of a list at a path; empty where it is missing, without entries that are no objects."""
    value = find(obj, *path)
    return [entry for entry in value if isinstance(entry, dict)] if isinstance(value, list) else []


def strings_at(obj: Mapping[str, Any], *path: str) -> list[str]:
    """Return the strings of a list at a path; empty where it is missing."""
    value = find(obj, *path)
    return [entry for entry in value if isinstance(entry, str)] if isinstance(value, list) else []
