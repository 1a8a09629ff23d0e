from __future__ import annotations

from flambeau.serving.workers.restart import SLOW_DELAY_SECONDS, Failures, after_failure, delay_seconds


def test_the_first_successor_comes_at_once_and_later_ones_ever_later() -> None:
    failures, delays = Failures(), []
    for second in range(6):
        failures = after_failure(failures, 100.0 + second, asked_at=99.5 + second, proven=False)
        delays.append(delay_seconds(failures, 100.0 + second, 300.0))
    assert delays == [0.0, 1.0, 2.0, 3.0, 5.0, 8.0]


def test_delays_are_capped() -> None:
    assert delay_seconds(Failures(50, 0.0), 10.0, 300.0) == 34.0


def test_after_the_window_it_still_tries_but_rarely() -> None:
    assert delay_seconds(Failures(9, 0.0), 300.0, 300.0) == SLOW_DELAY_SECONDS


def test_a_worker_that_worked_begins_a_new_row() -> None:
    assert after_failure(Failures(7, 0.0, 9.0), 500.0, asked_at=10.0, proven=True) == Failures(1, 500.0, 500.0)
    assert after_failure(Failures(7, 5.0, 9.0), 500.0, asked_at=10.0, proven=False) == Failures(8, 5.0, 500.0)


def test_workers_that_fall_together_count_once() -> None:
    first = after_failure(Failures(), 10.0, asked_at=1.0, proven=False)
    assert after_failure(first, 10.1, asked_at=1.0, proven=False) == first
    assert after_failure(first, 10.1, asked_at=1.0, proven=True) == first
