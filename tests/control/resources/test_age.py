from __future__ import annotations

import pytest

from flambeau.control.resources.age import AGE_COLUMN, age_text, since

MINUTE, HOUR, DAY, YEAR = 60, 3600, 86400, 365 * 86400


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-5, "<invalid>"),
        (-1.5, "0s"),
        (0, "0s"),
        (95, "95s"),
        (119.9, "119s"),
        (2 * MINUTE, "2m"),
        (3 * MINUTE + 12, "3m12s"),
        (10 * MINUTE + 5, "10m"),
        (125 * MINUTE, "125m"),
        (3 * HOUR, "3h"),
        (5 * HOUR + 7 * MINUTE, "5h7m"),
        (8 * HOUR + 30 * MINUTE, "8h"),
        (30 * HOUR, "30h"),
        (48 * HOUR, "2d"),
        (3 * DAY + 4 * HOUR, "3d4h"),
        (8 * DAY + 5 * HOUR, "8d"),
        (200 * DAY, "200d"),
        (2 * YEAR, "2y"),
        (3 * YEAR + 20 * DAY, "3y20d"),
        (9 * YEAR + 20 * DAY, "9y"),
    ],
)
def test_the_words_of_kubernetes(seconds: float, text: str) -> None:
    assert age_text(seconds) == text


def test_since_a_time_or_unknown() -> None:
    assert since("2026-01-01T00:00:00Z", 1767225600 + 95) == "95s"
    assert since(None, 0) == "<unknown>"
    assert since("yesterday", 0) == "<unknown>"
    assert AGE_COLUMN.cell({"metadata": {"creationTimestamp": "2026-01-01T00:00:00Z"}}, 1767225600 + 5) == "5s"
