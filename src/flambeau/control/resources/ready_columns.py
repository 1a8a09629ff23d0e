"""The columns Ready and Reason, as Knative's kinds show their condition Ready."""

from __future__ import annotations

from flambeau.control.resources.conditions import get_condition
from flambeau.control.resources.kind import Column, Object


def _ready(name: str, field: str) -> Column:
    def cell(obj: Object, _: float) -> str | None:
        return (get_condition(obj, "Ready") or {}).get(field)

    return Column(name, cell)


READY_COLUMNS = (_ready("Ready", "status"), _ready("Reason", "reason"))
