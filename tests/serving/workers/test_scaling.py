from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flambeau.serving.workers.scaling import CALM_SECONDS, GROW_AFTER_SECONDS, SHRINK_AFTER_SECONDS, Observed, wished_workers

CALM = Observed(workers=2, coming=0, idle=0, oldest_wait_seconds=None, longest_idle_seconds=0.0)
PRESSED = replace(CALM, oldest_wait_seconds=GROW_AFTER_SECONDS)


def test_the_bounds_come_first() -> None:
    assert wished_workers(replace(CALM, workers=0), 1, 5).workers == 1
    assert wished_workers(replace(CALM, workers=7), 1, 5).workers == 5
    assert wished_workers(replace(CALM, workers=7), 0, 0).workers == 0


def test_it_grows_by_one_when_a_job_has_waited_long_and_nobody_could_take_it() -> None:
    assert wished_workers(PRESSED, 1, 5).workers == 3


@pytest.mark.parametrize(
    "observed", [replace(PRESSED, idle=1), replace(PRESSED, coming=1), replace(PRESSED, oldest_wait_seconds=GROW_AFTER_SECONDS / 2)]
)
def test_it_does_not_grow_while_help_is_there_or_coming(observed: Observed) -> None:
    assert wished_workers(observed, 1, 5).workers == 2


def test_the_first_worker_comes_with_the_first_job() -> None:
    nobody = replace(CALM, workers=0)
    assert wished_workers(nobody, 0, 5).workers == 0
    assert wished_workers(replace(nobody, oldest_wait_seconds=0.0), 0, 5).workers == 1
    assert wished_workers(replace(nobody, oldest_wait_seconds=0.0), 0, 0).workers == 0


def test_it_does_not_grow_over_the_maximum() -> None:
    assert wished_workers(PRESSED, 1, 2).workers == 2


def test_it_lets_go_one_that_has_long_been_idle_down_to_the_minimum() -> None:
    idle = replace(CALM, idle=2, longest_idle_seconds=SHRINK_AFTER_SECONDS)
    assert wished_workers(idle, 1, 5).workers == 1
    assert wished_workers(idle, 2, 5).workers == 2


def test_it_lets_nobody_go_soon_after_a_change() -> None:
    idle = replace(CALM, idle=2, longest_idle_seconds=SHRINK_AFTER_SECONDS, unchanged_seconds=CALM_SECONDS - 1)
    assert wished_workers(idle, 1, 5).workers == 2


def test_a_change_says_why_with_numbers() -> None:
    assert wished_workers(PRESSED, 1, 5).reason == "a request waits for 0.50 s and every worker is busy"
    assert wished_workers(CALM, 1, 5).reason == ""
    assert wished_workers(replace(CALM, workers=9), 1, 5).reason == "between minWorkers 1 and maxWorkers 5"


OBSERVED = st.builds(
    Observed,
    workers=st.integers(0, 9),
    coming=st.integers(0, 3),
    idle=st.integers(0, 9),
    oldest_wait_seconds=st.none() | st.floats(0, 100),
    longest_idle_seconds=st.floats(0, 1000),
    unchanged_seconds=st.floats(0, 1000),
)


@given(OBSERVED, st.integers(0, 5), st.integers(0, 5))
def test_it_stays_within_the_bounds_and_moves_by_one(observed: Observed, fewest: int, more: int) -> None:
    wish = wished_workers(observed, fewest, fewest + more)
    assert fewest <= wish.workers <= fewest + more
    if fewest <= observed.workers <= fewest + more:
        assert abs(wish.workers - observed.workers) <= 1
    assert (wish.reason != "") == (wish.workers != observed.workers)


@given(OBSERVED)
def test_it_never_shrinks_while_somebody_has_waited_long_and_never_grows_while_somebody_is_idle(observed: Observed) -> None:
    wish = wished_workers(observed, 0, 9)
    if wish.workers > observed.workers:
        assert not observed.idle
        assert not observed.coming
    if wish.workers < observed.workers:
        assert observed.longest_idle_seconds >= SHRINK_AFTER_SECONDS


@given(st.lists(st.tuples(st.booleans(), st.floats(0.1, 20)), min_size=1, max_size=80))
def test_a_load_in_waves_does_not_make_the_number_of_workers_swing(turns: list[tuple[bool, float]]) -> None:
    """Replay pressure and calm in virtual time: between two changes downwards there is always the calm time."""
    now, workers, changed_at, idle_since = 0.0, 1, float("-inf"), 0.0
    shrunk_at: list[float] = []
    for pressed, seconds in turns:
        if pressed:
            idle_since = now + seconds
        observed = Observed(workers, 0, 0 if pressed else workers, 1.0 if pressed else None, max(0.0, now - idle_since), now - changed_at)
        wish = wished_workers(observed, 1, 4)
        if wish.workers < workers:
            shrunk_at.append(now)
        if wish.workers != workers:
            assert now - changed_at >= (CALM_SECONDS if wish.workers < workers else 0.0)
            workers, changed_at = wish.workers, now
        now += seconds
    assert all(later - earlier >= CALM_SECONDS for earlier, later in pairwise(shrunk_at))
