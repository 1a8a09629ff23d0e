from __future__ import annotations

from dataclasses import replace

import pytest

from flambeau.serving.workers.scaling import GROW_AFTER_SECONDS, SHRINK_AFTER_SECONDS, Observed, wished_workers

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
