"""Conditions as Kubernetes and Knative write them: one per type, sorted by type. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flambeau.control.resources.kind import Object
from flambeau.control.resources.lookup import mappings_at
from flambeau.foundation.timestamps import rfc3339


def get_condition(obj: Mapping[str, Any], type: str) -> Object | None:
    """Return the condition of that type from ``status.conditions``, or None."""
    return next((condition for condition in mappings_at(obj, "status", "conditions") if condition.get("type") == type), None)


def set_condition(
    conditions: list[Object], type: str, status: str, reason: str, message: str, now: float, severity: str | None = None
) -> None:
    """Set one condition in a list, in place.

    ``lastTransitionTime`` moves only when the status changes, so that writing the same condition twice changes nothing.

    Args:
        conditions: the list; stays sorted by type.
        type: which condition.
        status: ``True``, ``False`` or ``Unknown``.
        reason: one CamelCase word; empty leaves the field out.
        message: what a person should know; empty leaves the field out.
        now: seconds since the epoch.
        severity: ``Info`` for conditions that Ready does not depend on.
    """
    old = next((condition for condition in conditions if condition.get("type") == type), None)
    moved = old is None or old.get("status") != status or "lastTransitionTime" not in old
    new: Object = {
        "type": type,
        "status": status,
        "lastTransitionTime": rfc3339(now) if moved or old is None else old["lastTransitionTime"],
    }
    optional = {"reason": reason, "message": message, "severity": severity}
    new.update({name: value for name, value in optional.items() if value})
    if old is None:
        conditions.append(new)
    else:
        conditions[conditions.index(old)] = new
    conditions.sort(key=lambda condition: str(condition.get("type", "")))
