"""Server-side apply: a client says all that it wants, and gets exactly that, without touching what others own. Pure.

Source: Kubernetes' server-side apply as kubectl uses it; the record of owners is in ``ownership``.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from flambeau.control.apiserver import list_keys, ownership
from flambeau.control.apiserver.ownership import FieldPath, Owner
from flambeau.control.resources.kind import Object
from flambeau.foundation.errors import Conflict

_KUBECTL = "kubectl"
"""The manager that kubectl's server-side apply says it is."""
_FLAMBEAU = "flambeau"
"""The manager that our own commands say they are: what ``create`` or ``rollout undo`` wrote, ``apply`` may take back."""
_LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"


class ApplyConflict(Conflict):
    """Other managers own fields that the applied configuration wants to have another value.

    Args:
        owned: (manager, field as people read it), at least one.
    """

    default_reason = "Conflict"

    def __init__(self, owned: tuple[tuple[str, str], ...]) -> None:
        listed = ", ".join(f'conflict with "{manager}": {field}' for manager, field in owned)
        super().__init__(f"Apply failed with {len(owned)} conflict{'s' if len(owned) > 1 else ''}: {listed}")
        self.owned = owned


@dataclass(frozen=True, slots=True)
class Applied:
    """What an apply makes."""

    obj: Object
    owners: tuple[Owner, ...]


def apply(live: Object, config: Object, manager: str, now: str, *, force: bool) -> Applied:
    """Return the object after an apply; neither argument is changed.

    Fields that this manager applied before and leaves out now are removed, unless somebody else owns them too.

    Args:
        live: the object there is; empty where there is none.
        config: all that the manager wants.
        manager: who applies.
        now: an RFC 3339 time.
        force: take fields over from others instead of refusing.

    Raises:
        ApplyConflict: without ``force``, others own fields that would change.
    """
    config = _without_nulls(config)
    config.pop("status", None)  # written through /status
    wanted, there, owners = ownership.leaves(config), ownership.leaves(live), ownership.read(live)
    mine = next((owner for owner in owners if owner.is_same(manager, "Apply")), None)
    if manager == _FLAMBEAU:
        mine, owners = _with_own_updates(mine, owners)
    others = tuple(owner for owner in owners if owner is not mine)
    disputed = _disputed(others, wanted, there)
    if manager == _KUBECTL and disputed and not force:
        applied_before = _from_client_side_apply(live, there)
        if all(path in applied_before for _, path in disputed):
            force = True
    if disputed and not force:
        raise ApplyConflict(tuple(sorted((owner.manager, ownership.show(path)) for owner, path in disputed)))
    if disputed:
        lost = frozenset(path for _, path in disputed)
        others = tuple(replace(owner, fields=owner.fields - lost) for owner in others)
    merged = _merge(live, config, "")
    if mine is not None:
        for path in sorted(_dropped(mine, others, wanted), key=len):  # a list item before its fields
            _remove(merged, path, wanted)
    fields = frozenset(wanted)
    unchanged = mine is not None and mine.fields == fields
    me = mine if mine is not None and unchanged else Owner(manager, "Apply", fields, str(config.get("apiVersion", "")), now)
    return Applied(merged, tuple(owner for owner in (me, *others) if owner.fields))


def _with_own_updates(mine: Owner | None, owners: Sequence[Owner]) -> tuple[Owner | None, tuple[Owner, ...]]:
    """Return our commands' entry with what they wrote otherwise in it, and the owners with that in place of both."""
    updates = next((owner for owner in owners if owner.is_same(_FLAMBEAU, "Update")), None)
    if updates is None:
        return mine, tuple(owners)
    whole = replace(updates, operation="Apply", fields=updates.fields | (mine.fields if mine else frozenset()))
    return whole, (whole, *(owner for owner in owners if owner is not mine and owner is not updates))


def merge_only(live: Object, config: Object) -> Object:
    """Return the object with a configuration merged in and no owners looked at (``/status``, whose owners aren't recorded)."""
    merged: Object = _merge(live, _without_nulls(config), "")
    return merged


def _disputed(others: Sequence[Owner], wanted: dict[FieldPath, Any], there: dict[FieldPath, Any]) -> list[tuple[Owner, FieldPath]]:
    changing = {path for path, value in wanted.items() if path in there and there[path] != value}
    return [(owner, path) for owner in others for path in owner.fields & changing]


def _dropped(mine: Owner, others: Sequence[Owner], wanted: dict[FieldPath, Any]) -> set[FieldPath]:
    """Return the fields that this manager doesn't want any more and nobody else owns, themselves or something in them."""
    owned = [*wanted, *(path for owner in others for path in owner.fields)]
    kept = {path[:length] for path in owned for length in range(1, len(path) + 1)}
    return {path for path in mine.fields if path not in kept}


def _from_client_side_apply(live: Object, there: dict[FieldPath, Any]) -> set[FieldPath]:
    """Return the fields that still are as kubectl's client-side apply left them: who goes on to server-side apply may change these."""
    annotation = (live.get("metadata", {}).get("annotations") or {}).get(_LAST_APPLIED)
    try:
        last = json.loads(annotation) if isinstance(annotation, str) else None
    except (ValueError, RecursionError):  # users can write anything there
        return set()
    return {path for path, value in ownership.leaves(last).items() if there.get(path) == value} if isinstance(last, dict) else set()


def _without_nulls(node: Any) -> Any:
    if isinstance(node, dict):
        return {name: _without_nulls(value) for name, value in node.items() if value is not None}
    return [_without_nulls(item) for item in node] if isinstance(node, list) else node


def _merge(live: Any, config: Any, name: str) -> Any:
    if isinstance(config, dict) and isinstance(live, dict):
        result = {field: copy.deepcopy(value) for field, value in live.items() if field not in config}
        return result | {field: _merge(live[field], value, field) if field in live else value for field, value in config.items()}
    if isinstance(config, list) and isinstance(live, list):
        if list_keys.is_set(name):
            return [*live, *(item for item in config if item not in live)]
        keys = list_keys.merge_keys(name, [*live, *config])
        if keys is not None:
            return _merge_items(live, config, keys)
    return copy.deepcopy(config)


def _merge_items(live: list[Any], config: list[Any], keys: tuple[str, ...]) -> list[Any]:
    old = {list_keys.identity(item, keys): item for item in live}
    new = {list_keys.identity(item, keys): item for item in config}
    kept = [copy.deepcopy(item) if place not in new else _merge(item, new[place], "") for place, item in old.items()]
    return kept + [copy.deepcopy(item) for place, item in new.items() if place not in old]


def _remove(obj: Object, path: FieldPath, wanted: dict[FieldPath, Any]) -> None:
    """Take a field or list item out, in place, and the maps that this leaves empty unless they are wanted so."""
    trail: list[tuple[Any, Any]] = []
    node: Any = obj
    name = ""
    for segment in path:
        place = _place(node, segment, name)
        if place is None:
            return
        trail.append((node, place))
        node = node[place]
        name = segment[2:] if segment.startswith("f:") else ""
    for depth, (parent, place) in enumerate(reversed(trail)):
        length = len(trail) - depth
        if depth and (parent[place] or length == 1 or path[:length] in wanted):
            return
        del parent[place]


def _place(node: Any, segment: str, list_name: str) -> str | int | None:
    """Return the key or index that a path's segment means in a value, or None where it isn't there."""
    kind, _, rest = segment.partition(":")
    if kind == "f":
        return rest if isinstance(node, dict) and rest in node else None
    if not isinstance(node, list):
        return None
    if kind == "v":
        return next((index for index, item in enumerate(node) if f"v:{ownership.compact(item)}" == segment), None)
    keys = list_keys.merge_keys(list_name, node) or ()
    return next((index for index, item in enumerate(node) if keys and ownership.item_segment(item, keys) == segment), None)
