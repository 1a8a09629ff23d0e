"""The least loaded replica, fair ties, and endpoints that fail."""

from __future__ import annotations

import random
from collections import Counter

from flambeau.gateway.balance import Load, choose
from flambeau.gateway.breaker import EJECTION_SECONDS_MAX, HEALTHY, Health


def test_fewest_in_flight_wins_and_ties_are_fair() -> None:
    assert choose([Load(3), Load(1), Load(2)], 0.99) == 1
    randomness = random.Random(1)
    counts = Counter(choose([Load(1), Load(0), Load(0)], randomness.random()) for _ in range(1000))
    assert counts[0] == 0
    assert min(counts[1], counts[2]) > 400


def test_ejected_endpoints_are_left_out_unless_there_is_no_other() -> None:
    assert choose([Load(0, ejected=True), Load(9)], 0.5) == 1
    assert choose([Load(0, ejected=True), Load(9, excluded=True)], 0.5) == 0
    assert choose([Load(1, ejected=True), Load(0, ejected=True)], 0.5) == 1


def test_full_and_excluded_endpoints_leave_none() -> None:
    assert choose([Load(2), Load(2)], 0.5, in_flight_max=2) is None
    assert choose([Load(2), Load(1)], 0.5, in_flight_max=2) == 1
    assert choose([Load(0, excluded=True)], 0.5) is None
    assert choose([], 0.5) is None


def test_ejections_begin_at_three_failures_grow_and_are_bounded() -> None:
    health = HEALTHY
    for _ in range(2):
        health = health.after_failure(100.0)
    assert not health.is_ejected(100.0)
    lengths = []
    now = 100.0
    for _ in range(8):
        health = health.after_failure(now)
        lengths.append(health.ejected_until - now)
        now = health.ejected_until
        assert not health.is_ejected(now)
    assert lengths[:5] == [1.0, 2.0, 4.0, 8.0, 16.0]
    assert lengths[-1] == EJECTION_SECONDS_MAX


def test_late_failures_do_not_lengthen_an_ejection() -> None:
    health = Health(failures=3, ejections=1, ejected_until=101.0)
    assert health.after_failure(100.5).ejected_until == 101.0
