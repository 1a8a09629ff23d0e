from __future__ import annotations

from flambeau.control.resources.conditions import get_condition, set_condition
from flambeau.control.resources.kind import Object

LATER = 1767225600.0


def test_sorted_by_type_and_found_again() -> None:
    conditions: list[Object] = []
    set_condition(conditions, "Ready", "Unknown", "Deploying", "waiting", 0)
    set_condition(conditions, "Active", "True", "", "", 0, severity="Info")
    assert [condition["type"] for condition in conditions] == ["Active", "Ready"]
    assert conditions[0] == {"type": "Active", "status": "True", "lastTransitionTime": "1970-01-01T00:00:00Z", "severity": "Info"}
    assert get_condition({"status": {"conditions": conditions}}, "Ready") == conditions[1]
    assert get_condition({"status": {}}, "Ready") is None


def test_the_time_moves_only_with_the_status() -> None:
    conditions: list[Object] = []
    set_condition(conditions, "Ready", "False", "A", "one", 0)
    set_condition(conditions, "Ready", "False", "B", "two", LATER)
    assert conditions == [
        {"type": "Ready", "status": "False", "lastTransitionTime": "1970-01-01T00:00:00Z", "reason": "B", "message": "two"}
    ]
    set_condition(conditions, "Ready", "True", "", "", LATER)
    assert conditions == [{"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}]
