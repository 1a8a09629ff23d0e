from __future__ import annotations

import pytest

from flambeau.programs.bench.figures import OTHER, OUTCOMES_MAX, PHASES, Latencies, Level, Split, Tried, best_of


def test_quantiles_are_the_times_that_were_not_exceeded() -> None:
    latencies = Latencies()
    for number in range(1, 1001):
        latencies.add(number / 1000)
    assert latencies.count == 1000
    assert latencies.mean == pytest.approx(0.5005)
    assert latencies.quantiles() == pytest.approx((0.5, 0.9, 0.99, 0.999), rel=0.005)
    assert latencies.quantile(1.0) == pytest.approx(1.0, rel=0.005)


@pytest.mark.parametrize("seconds", [0.0, 1e-7, 12.3e-6, 0.000_512, 0.25, 3.0, 3600.0])
def test_a_time_is_kept_to_half_a_percent(seconds: float) -> None:
    latencies = Latencies()
    latencies.add(seconds)
    assert latencies.quantile(0.5) == pytest.approx(seconds, rel=0.005)


def test_nothing_has_no_times() -> None:
    assert Latencies().quantiles() == (0, 0, 0, 0)
    assert (Latencies().mean, Level(1).throughput, Split().means(), Split().batch) == (0, 0, {}, 0)


def test_failures_keep_their_first_message_and_are_bounded() -> None:
    level = Level(1)
    level.fail("503", "queue full")
    level.fail("503", "another")
    assert (level.failures["503"].count, level.failures["503"].message, level.failed) == (2, "queue full", 2)
    for number in range(OUTCOMES_MAX + 10):
        level.fail(f"odd {number}", "")
    assert len(level.failures) == OUTCOMES_MAX + 1
    assert level.failures[OTHER].count == 11


def test_throughput_counts_what_was_answered_well() -> None:
    level = Level(4, seconds=2.0)
    for _ in range(10):
        level.latencies.add(0.1)
    level.fail("500", "")
    assert level.throughput == 5


def test_the_parts_of_a_requests_time_add_up_to_it() -> None:
    split = Split()
    told = {"server": 0.008, "receive": 0.001, "queue": 0.002, "worker": 0.005, "decode": 0.0005, "handler": 0.003, "encode": 0.0005}
    split.add(0.020, {**told, "gateway": 0.012}, 4)
    means = split.means()
    assert list(means) == [key for key, _, _ in PHASES]
    assert means == pytest.approx(
        {"client": 0.008, "gateway": 0.004, "receive": 0.001, "queue": 0.002, "link": 0.001, "decode": 0.0005, "handler": 0.003}
        | {"encode": 0.0005}
    )
    assert sum(means.values()) == pytest.approx(0.020)
    assert split.batch == 4
    split.add(0.010, told, 2)  # past the gateway
    assert (split.count, split.batch) == (2, 3)
    assert split.means()["gateway"] == pytest.approx(0.002)


def test_answers_that_tell_nothing_are_not_split() -> None:
    split = Split()
    split.add(0.02, {"gateway": 0.01, "app": 0.001}, 1)
    assert split.count == 0


def test_the_best_setting_is_the_smallest_of_those_about_as_fast() -> None:
    def tried(batch_size: int, workers: int, rate: int, *, failed: bool = False) -> Tried:
        level = Level(64, seconds=1.0)
        for _ in range(rate):
            level.latencies.add(0.01)
        if failed:
            level.fail("503", "")
        return Tried(batch_size, workers, level)

    assert best_of([]) is None
    assert best_of([tried(1, 1, 0)]) is None
    found = best_of([tried(1, 1, 500), tried(8, 1, 990), tried(16, 1, 1000), tried(16, 2, 1010), tried(32, 1, 2000, failed=True)])
    assert found is not None
    assert (found.batch_size, found.workers) == (8, 1)
