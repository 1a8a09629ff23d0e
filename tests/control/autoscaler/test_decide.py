"""The KPA's formulas, by tables and by properties."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flambeau.control.autoscaler.decide import Memory, Observed, ScaleSettings, decide
from flambeau.control.autoscaler.settings import PREFIX, scaling_of

READY = Memory(was_ready=True)


def wish(observed: Observed, settings: ScaleSettings, memory: Memory = READY, now: float = 1000.0) -> int:
    return decide(observed, settings, memory, now).wish


@pytest.mark.parametrize(
    ("stable", "ready", "settings", "wanted"),
    [
        (0.0, 1, ScaleSettings(), 1),
        (70.0, 1, ScaleSettings(), 1),
        (70.1, 1, ScaleSettings(), 2),
        (7.0, 1, ScaleSettings(target_total=1, utilization_percent=70), 10),
        (7.0, 1, ScaleSettings(target_total=1, scale_max=3), 3),
        (0.0, 5, ScaleSettings(scale_min=4), 4),
        (0.0, 10, ScaleSettings(), 5),  # no faster down than by half
        (50.0, 1, ScaleSettings(target_total=1, utilization_percent=100, scale_up_rate_max=3), 3),
        (1.0, 1, ScaleSettings(target_total=0.001), 100),  # a target is at least 0.01
    ],
)
def test_the_stable_window_decides(stable: float, ready: int, settings: ScaleSettings, wanted: int) -> None:
    assert wish(Observed(ready=ready, stable=stable, panic=stable if stable < 7 else 0.0), settings) == wanted


def test_a_burst_starts_a_panic_that_never_goes_down_and_ends_after_a_stable_window() -> None:
    settings = ScaleSettings(target_total=10, utilization_percent=100)
    first = decide(Observed(ready=1, stable=3.0, panic=35.0), settings, READY, now=0.0)
    assert (first.wish, first.in_panic) == (4, True)
    calm = decide(Observed(ready=4, stable=5.0, panic=1.0), settings, first.memory, now=30.0)
    assert (calm.wish, calm.in_panic) == (4, True)
    over = decide(Observed(ready=4, stable=5.0, panic=1.0), settings, calm.memory, now=60.0)
    assert (over.wish, over.in_panic) == (2, False)


def test_a_revision_starts_at_its_initial_scale_until_it_was_ready() -> None:
    settings = ScaleSettings(scale_initial=3, scale_min=0)
    assert wish(Observed(ready=0, stable=None, panic=None), settings, Memory()) == 3
    waiting = decide(Observed(ready=1, stable=0.0, panic=0.0), settings, Memory(), now=0.0)
    assert waiting.wish == 3
    reached = decide(Observed(ready=3, stable=0.0, panic=0.0), settings, waiting.memory, now=1.0)
    assert reached.memory.was_ready


def test_the_last_replica_stays_for_the_grace_and_then_goes() -> None:
    settings = ScaleSettings(scale_min=0)
    idle = Observed(ready=1, stable=0.0, panic=0.0)
    first = decide(idle, settings, READY, now=0.0)
    assert first.wish == 1
    assert decide(idle, settings, first.memory, now=29.0).wish == 1
    gone = decide(idle, settings, first.memory, now=30.0)
    assert gone.wish == 0
    assert decide(Observed(ready=0, stable=0.0, panic=0.0), settings, gone.memory, now=32.0).wish == 0
    busy = decide(Observed(ready=1, stable=0.5, panic=0.5), settings, first.memory, now=29.0)
    assert busy.memory.idle_since is None


def test_a_held_request_wakes_a_revision_with_its_activation_scale() -> None:
    asleep = Observed(ready=0, stable=0.0, panic=0.0, held=1)
    assert wish(asleep, ScaleSettings(scale_min=0)) == 1
    assert wish(asleep, ScaleSettings(scale_min=0, scale_activation=3)) == 3
    assert wish(asleep, ScaleSettings(scale_min=0, scale_activation=3, scale_max=2)) == 2


def test_the_scale_down_delay_keeps_the_most_of_its_span() -> None:
    settings = ScaleSettings(target_total=1, utilization_percent=100, scale_down_delay_seconds=30, panic_threshold_percent=1000)
    memory = decide(Observed(ready=4, stable=4.0, panic=4.0), settings, READY, now=0.0).memory
    later = decide(Observed(ready=4, stable=2.0, panic=2.0), settings, memory, now=20.0)
    assert later.wish == 4
    assert decide(Observed(ready=4, stable=2.0, panic=2.0), settings, later.memory, now=31.0).wish == 2


@pytest.mark.parametrize(
    ("capacity", "ready", "panic", "left"), [(211, 1, 0.0, -111), (211, 4, 50.0, 139), (0, 1, 500.0, 0), (-1, 9, 0.0, -1)]
)
def test_burst_capacity(capacity: float, ready: int, panic: float, left: int) -> None:
    settings = ScaleSettings(burst_capacity=capacity)
    assert decide(Observed(ready=ready, stable=0.0, panic=panic), settings, READY, 0.0).burst_capacity_left == left


loads = st.floats(min_value=0, max_value=1e6)


@given(
    ready=st.integers(0, 50),
    stable=loads,
    panic=loads,
    held=st.integers(0, 10),
    least=st.integers(0, 5),
    span=st.integers(0, 5),
    was_ready=st.booleans(),
)
def test_a_wish_is_within_its_bounds_and_never_zero_while_somebody_waits(
    ready: int, stable: float, panic: float, held: int, least: int, span: int, was_ready: bool
) -> None:
    settings = ScaleSettings(scale_min=least, scale_max=least + span)
    decision = decide(Observed(ready, stable, panic, held), settings, Memory(was_ready=was_ready), now=0.0)
    assert decision.wish >= least
    if settings.scale_max:
        assert decision.wish <= settings.scale_max
    if held:
        assert decision.wish > 0
    assert decision.reasons


NAMES = (
    *("min-scale", "max-scale", "initial-scale", "activation-scale", "target", "target-utilization-percentage", "target-burst-capacity"),
    *("window", "panic-window-percentage", "panic-threshold-percentage", "scale-to-zero-pod-retention-period", "scale-down-delay"),
)
words = st.sampled_from(["", "x", "0", "1", "-5", "0.0001", "1e308", "9" * 400, "9" * 400 + "s", "nan", "inf", "10s", "1h", "100"])


@given(st.dictionaries(st.sampled_from([*NAMES, "metric"]), words), st.integers(0, 3), loads, st.integers(0, 2))
def test_any_annotations_come_to_a_wish(said: dict[str, str], ready: int, load: float, held: int) -> None:
    revision = {"metadata": {"annotations": {f"{PREFIX}{name}": word for name, word in said.items()}}}
    decision = decide(Observed(ready, load, load, held), scaling_of(revision, 4).settings, Memory(was_ready=ready > 0), now=0.0)
    assert decision.wish >= 0
