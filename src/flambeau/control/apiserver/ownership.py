"""Which client set which field: ``metadata.managedFields``, read and written. Pure.

A field is named by its path: a tuple of FieldsV1 segments, ``f:<name>``, ``k:<keys of a list item>`` or ``v:<value in a set>``.
Only leaves and list items have owners. Used by ``apply`` to see conflicts, and by every other write to keep the record true.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from flambeau.control.apiserver import list_keys
from flambeau.control.resources.kind import Object

FieldPath = tuple[str, ...]

ITEM: Final = object()
"""What stands for a list item itself, beside its fields."""

ENTRIES_MAX = 50
"""Owners of one object; the oldest updaters are forgotten first, as in Kubernetes."""
_DEPTH_MAX = 100

_SERVERS_OWN = (
    "name",
    "namespace",
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "managedFields",
    "selfLink",
    "generateName",
)
_NOBODYS = frozenset([("f:apiVersion",), ("f:kind",), ("f:status",), *(("f:metadata", f"f:{name}") for name in _SERVERS_OWN)])


@dataclass(frozen=True, slots=True)
class Owner:
    """One entry of ``managedFields``."""

    manager: str
    operation: str
    """``Apply``: these are the fields the manager wants; ``Update``: those it wrote last."""
    fields: frozenset[FieldPath]
    api_version: str
    time: str
    subresource: str = ""

    def is_same(self, manager: str, operation: str) -> bool:
        """Tell whether this is the entry of a manager's operation on the object itself."""
        return (self.manager, self.operation, self.subresource) == (manager, operation, "")


def leaves(obj: Object) -> dict[FieldPath, Any]:
    """Return every ownable field of an object with its value."""
    found: dict[FieldPath, Any] = {}
    pending: list[tuple[FieldPath, str, Any]] = [((), "", obj)]
    while pending:
        path, name, node = pending.pop()
        if path in _NOBODYS:
            continue
        if isinstance(node, dict) and node:
            pending += [((*path, f"f:{key}"), key, value) for key, value in node.items()]
        elif isinstance(node, list) and node and list_keys.is_set(name):
            found.update(((*path, f"v:{compact(item)}"), ITEM) for item in node)
        elif isinstance(node, list) and node and (keys := list_keys.merge_keys(name, node)):
            for item in node:
                item_path = (*path, item_segment(item, keys))
                found[item_path] = ITEM
                pending += [((*item_path, f"f:{key}"), key, value) for key, value in item.items()]
        elif path:
            found[path] = node
    return found


def item_segment(item: Mapping[str, Any], keys: Sequence[str]) -> str:
    """Return the path segment of a list item."""
    return f"k:{compact(dict(zip(keys, list_keys.identity(dict(item), tuple(keys)), strict=True)))}"


def compact(value: Any) -> str:
    """Return a value as FieldsV1 writes it."""
    return json.dumps(value, separators=(",", ":"), sort_keys=True)


def show(path: FieldPath) -> str:
    """Return a path as people read it: ``.spec.predictor.containers[name="x"].image``."""
    text = ""
    for segment in path:
        kind, _, rest = segment.partition(":")
        if kind == "f":
            text += f".{rest}"
        elif kind == "k":
            text += "[" + ",".join(f"{key}={compact(value)}" for key, value in json.loads(rest).items()) + "]"
        else:
            text += f"[={rest}]"
    return text


def after_update(owners: Sequence[Owner], old: Object, new: Object, manager: str, now: str) -> tuple[Owner, ...]:
    """Return the owners after a write that isn't an apply: the writer owns what it changed, nobody owns what is gone.

    Args:
        owners: before.
        old: the object before; empty for a new one.
        new: the object after.
        manager: who wrote.
        now: an RFC 3339 time.
    """
    before, after = leaves(old), leaves(new)
    changed = frozenset(path for path, value in after.items() if path not in before or before[path] != value)
    gone = before.keys() - after.keys()
    mine = next((owner for owner in owners if owner.is_same(manager, "Update")), None)
    result = []
    for owner in owners:
        fields = owner.fields - gone | changed if owner is mine else owner.fields - gone - changed
        result.append(owner if fields == owner.fields else replace(owner, fields=fields, time=now if owner is mine else owner.time))
    if mine is None:
        result.append(Owner(manager, "Update", changed, str(new.get("apiVersion", "")), now))
    return _bounded(owner for owner in result if owner.fields)


def _bounded(owners: Iterable[Owner]) -> tuple[Owner, ...]:
    kept = list(owners)
    while len(kept) > ENTRIES_MAX:
        updaters = [owner for owner in kept if owner.operation == "Update"] or kept
        kept.remove(min(updaters, key=lambda owner: owner.time))
    return tuple(kept)


def read(obj: Object) -> tuple[Owner, ...]:
    """Return an object's owners; entries that make no sense (clients may write anything there) are left out."""
    entries = obj.get("metadata", {}).get("managedFields")
    found = (_read_entry(entry) for entry in entries) if isinstance(entries, list) else ()
    return tuple(owner for owner in found if owner is not None and owner.fields)


def _read_entry(entry: Any) -> Owner | None:
    if not isinstance(entry, dict):
        return None
    words = {name: entry.get(name, "") for name in ("manager", "operation", "apiVersion", "time", "subresource")}
    if not all(isinstance(word, str) for word in words.values()) or not isinstance(entry.get("fieldsV1"), dict):
        return None
    fields: set[FieldPath] = set()
    pending: list[tuple[FieldPath, Mapping[str, Any]]] = [((), entry["fieldsV1"])]
    while pending:
        path, node = pending.pop()
        for segment, below in node.items():
            if segment == ".":
                fields.add(path)
            elif not _is_segment(segment) or not isinstance(below, dict) or len(path) >= _DEPTH_MAX:
                return None
            elif below:
                pending.append(((*path, segment), below))
            else:
                fields.add((*path, segment))
    return Owner(words["manager"], words["operation"], frozenset(fields), words["apiVersion"], words["time"], words["subresource"])


def _is_segment(segment: str) -> bool:
    kind, _, rest = segment.partition(":")
    if kind == "f":
        return True
    try:
        value = json.loads(rest)
    except (ValueError, RecursionError):
        return False
    return isinstance(value, dict) if kind == "k" else kind == "v"


def write(obj: Object, owners: Sequence[Owner]) -> None:
    """Put owners into an object, in place."""
    obj["metadata"].pop("managedFields", None)
    if owners:
        obj["metadata"]["managedFields"] = [_write_entry(owner) for owner in owners]


def _write_entry(owner: Owner) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for path in sorted(owner.fields):
        node = tree
        for segment in path:
            node = node.setdefault(segment, {})
        if path and path[-1].startswith("k:"):
            node["."] = {}
    entry = {
        "manager": owner.manager,
        "operation": owner.operation,
        "apiVersion": owner.api_version,
        "time": owner.time,
        "fieldsType": "FieldsV1",
        "fieldsV1": tree,
    }
    return {**entry, "subresource": owner.subresource} if owner.subresource else entry
