"""What a HorizontalPodAutoscaler wishes."""

from __future__ import annotations

import pytest

from flambeau.control.autoscaler.horizontal import DOWN, UP, Measured, Memory, Metric, Pace, Policy, Settings, changed, decide

CPU = (Metric("cpu", 50.0),)


def settings(metrics: tuple[Metric, ...] = CPU, *, up: Pace = UP, down: Pace = DOWN, least: int = 1, most: int = 10) -> Settings:
    return Settings(least, most, metrics, up, down)


def cpu(percent: float) -> dict[str, Measured]:
    return {"cpu": Measured(percent / 100.0, 1.0)}


@pytest.mark.parametrize(
    ("current", "percent", "wish", "limited"),
    [
        (2, 50, 2, ""),
        (2, 54, 2, ""),  # within the tolerance
        (2, 75, 3, ""),
        (1, 300, 5, "ScaleUpLimit"),  # 6 wished for, 4 more at once allowed
        (8, 90, 10, "TooManyReplicas"),
        (2, 10, 1, ""),
        (1, 0, 1, "TooFewReplicas"),
    ],
)
def test_replicas_follow_the_ratio_of_use_to_target(current: int, percent: float, wish: int, limited: str) -> None:
    decision = decide(current, cpu(percent), settings(), Memory(), 0.0)
    assert (decision.wish, decision.limited, decision.failure) == (wish, limited, "")
    assert f"cpu {percent} % of the request / target 50 %" in decision.reasons[0]


def test_the_largest_wish_of_all_metrics_counts() -> None:
    both = settings((*CPU, Metric("memory", None, 100.0)))
    assert decide(2, {**cpu(50), "memory": Measured(200.0, 0.0)}, both, Memory(), 0.0).wish == 4


def test_what_cannot_be_measured_changes_nothing_and_is_said() -> None:
    decision = decide(3, {"cpu": Measured(0.5, 0.0)}, settings(), Memory(), 0.0)
    assert (decision.wish, "set resources.requests.cpu" in decision.failure) == (3, True)
    assert decide(3, {}, settings(), Memory(), 0.0).failure == "cpu is not measured yet: no ready pod"


def test_going_down_waits_for_the_stabilization_window() -> None:
    memory, wishes = Memory(), []
    for second in range(0, 331, 15):
        decision = decide(4, cpu(50 if second == 0 else 10), settings(), memory, float(second))
        memory = decision.memory
        wishes.append(decision.wish)
    assert wishes[0] == wishes[10] == 4
    assert wishes[-1] == 1


def test_going_up_waits_where_a_window_is_said() -> None:
    slow = settings(up=Pace(60.0, UP.policies))
    memory = decide(2, cpu(50), slow, Memory(), 0.0).memory
    decision = decide(2, cpu(200), slow, memory, 30.0)
    assert (decision.wish, decision.stabilized) == (2, True)
    assert decide(2, cpu(200), slow, decision.memory, 61.0).wish == 6


def test_policies_bound_the_change_within_their_period() -> None:
    one_at_a_time = settings(down=Pace(0.0, (Policy("Pods", 1, 60.0),)))
    decision = decide(5, cpu(5), one_at_a_time, Memory(), 0.0)
    assert (decision.wish, decision.limited) == (4, "ScaleDownLimit")
    memory = changed(decision.memory, 5, 4, 0.0)
    assert decide(4, cpu(5), one_at_a_time, memory, 30.0).wish == 4
    assert decide(4, cpu(5), one_at_a_time, memory, 61.0).wish == 3


def test_a_direction_can_be_forbidden_and_the_smaller_change_chosen() -> None:
    assert decide(5, cpu(5), settings(down=Pace(0.0, DOWN.policies, "Disabled")), Memory(), 0.0).wish == 5
    careful = settings(up=Pace(0.0, UP.policies, "Min"))
    assert decide(2, cpu(500), careful, Memory(), 0.0).wish == 4
