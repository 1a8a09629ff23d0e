"""Averages look back a bounded time and are not diluted by time before the first record."""

from __future__ import annotations

from flambeau.control.autoscaler.window import Window


def test_nothing_is_known_before_the_first_record() -> None:
    assert Window(60).average(0.0, 60) is None


def test_a_young_window_divides_by_what_it_has_seen() -> None:
    window = Window(60)
    for second in range(10):
        window.record(float(second), 4.0)
    assert window.average(9.0, 60) == 4.0
    assert window.average(19.0, 60) == 2.0  # ten silent seconds count as 0


def test_old_seconds_leave_and_short_windows_look_less_far() -> None:
    window = Window(10)
    for second in range(30):
        window.record(float(second), 1.0 if second < 25 else 11.0)
    assert window.average(29.0, 5) == 11.0
    assert window.average(29.0, 10) == 6.0
    assert window.average(100.0, 10) == 0.0


def test_a_second_has_one_value() -> None:
    window = Window(10)
    window.record(0.1, 1.0)
    window.record(0.9, 3.0)
    assert window.average(0.95, 10) == 3.0
