"""What a HorizontalPodAutoscaler wishes, and why. Pure: measured, settings, memory, now -> wish, reasons, memory.

Source: specification 4.8 and Kubernetes' documented algorithm: ratio of use to target with a tolerance, the largest wish of all metrics,
stabilization windows, policies per period.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

TOLERANCE = 0.1
"""A ratio of use to target that is closer to 1 than this changes nothing."""
EVENTS_MAX = 200
"""Changes remembered for the policies."""


@dataclass(frozen=True, slots=True)
class Metric:
    """What one replica should use."""

    name: str
    """cpu or memory, or what an external number is called."""
    utilization_percent: float | None
    """Of what the pod requests; None: ``target`` counts."""
    target: float = 0.0
    """Cores or bytes; of an external number, whatever it counts."""
    external: Literal["", "each", "all"] = ""
    """Whether the number comes from elsewhere, and the target is of ``each`` pod or of ``all`` together."""


@dataclass(frozen=True, slots=True)
class Policy:
    """So much change in so much time."""

    type: Literal["Pods", "Percent"]
    value: int
    period_seconds: float


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast one direction may go."""

    window_seconds: float
    policies: tuple[Policy, ...]
    select: Literal["Max", "Min", "Disabled"] = "Max"


UP = Pace(0.0, (Policy("Pods", 4, 15.0), Policy("Percent", 100, 15.0)))
DOWN = Pace(300.0, (Policy("Percent", 100, 15.0),))


@dataclass(frozen=True, slots=True)
class Settings:
    """What an HPA's spec says."""

    scale_min: int
    scale_max: int
    metrics: tuple[Metric, ...]
    up: Pace = UP
    down: Pace = DOWN


@dataclass(frozen=True, slots=True)
class Measured:
    """What ready pods use on average, of one resource."""

    value: float
    """Cores or bytes per pod."""
    requested: float
    """Per pod; 0: nothing is requested, so a utilization can't be told."""


@dataclass(frozen=True, slots=True)
class Memory:
    """What one decision tells the next."""

    wishes: tuple[tuple[float, int], ...] = ()
    """(when, replicas) of the longer window."""
    changes: tuple[tuple[float, int], ...] = ()
    """(when, difference) of the policies' periods."""


@dataclass(frozen=True, slots=True)
class Decision:
    """A wish, with its reasons."""

    wish: int
    reasons: tuple[str, ...]
    memory: Memory
    limited: str = ""
    """Reason of the condition ScalingLimited, where the wish was bounded."""
    stabilized: bool = False
    """An earlier wish within the window was kept."""
    failure: str = ""
    """Why a metric could not be told; the wish is then no less than what there is."""


def decide(current: int, measured: Mapping[str, Measured | str], settings: Settings, memory: Memory, now: float) -> Decision:
    """Return how many replicas there should be.

    Args:
        current: replicas there are to be now, all of them ready or not.
        measured: by metric; a text is why one could not be measured, one that is missing had no ready pod.
        settings: of the autoscaler.
        memory: what the last decision returned.
        now: seconds on a monotonic clock.
    """
    proposals, reasons, failure = _proposals(current, measured, settings.metrics)
    if not proposals:
        bounded = min(max(current, settings.scale_min), settings.scale_max)
        why = failure or "no metric is measured yet"
        return Decision(bounded, (why,), memory, failure=why)
    wish = max(proposals)
    if failure and wish < current:
        reasons.append(f"{wish} becomes {current}: {failure}")
        wish = current  # what can't be told may need them
    kept, stabilized = _stabilize(current, wish, settings, memory, now)
    if stabilized:
        reasons.append(f"{wish} becomes {kept}: wished for within the stabilization window")
    paced, limited = _paced(current, kept, settings, memory, now)
    bounded = min(max(paced, settings.scale_min), settings.scale_max)
    if bounded != kept:
        limited = limited if bounded == paced else ("TooFewReplicas" if bounded > paced else "TooManyReplicas")
        reasons.append(f"{kept} becomes {bounded}: {limited} ({settings.scale_min}..{settings.scale_max})")
    horizon = now - max(settings.up.window_seconds, settings.down.window_seconds)
    remembered = tuple(entry for entry in memory.wishes if entry[0] > horizon)
    return Decision(bounded, tuple(reasons), replace(memory, wishes=(*remembered, (now, wish))), limited, stabilized, failure)


def changed(memory: Memory, before: int, after: int, now: float) -> Memory:
    """Return the memory with a change that was made."""
    return replace(memory, changes=(*memory.changes, (now, after - before))[-EVENTS_MAX:]) if after != before else memory


def _proposals(current: int, measured: Mapping[str, Measured | str], metrics: Sequence[Metric]) -> tuple[list[int], list[str], str]:
    """Return each metric's wish, how it came about, and why one could not be told."""
    proposals, reasons, failure = [], [], ""
    for metric in metrics:
        found = measured.get(metric.name, f"{metric.name} is not measured yet: no ready pod")
        if isinstance(found, str):
            failure = found
            continue
        if metric.utilization_percent is not None and not found.requested:
            failure = f"the pods request no {metric.name}, so its utilization cannot be told: set resources.requests.{metric.name}"
            continue
        wish, told = _proposal(current, found, metric)
        proposals.append(wish)
        reasons.append(f"{told} on {current} replicas = {wish}")
    return proposals, reasons, failure


def _proposal(current: int, found: Measured, metric: Metric) -> tuple[int, str]:
    """Return one metric's wish, and how it came about; a number from elsewhere can wish from nothing, and for nothing."""
    if metric.utilization_percent is not None:
        use, target = 100.0 * found.value / found.requested, metric.utilization_percent
        told = f"{metric.name} {use:.0f} % of the request / target {target:g} %"
    else:
        use, target = found.value, metric.target
        told = f"{metric.name} {use:.3g} / target {target:.3g}"
    pods = max(current, 1) if metric.external else current
    if metric.external == "each":
        use, told = use / pods, f"{told} a pod"
    ratio = use / target if target else 1.0
    near = abs(ratio - 1.0) <= TOLERANCE and current > 0
    return current if near else math.ceil(pods * ratio), told


def _stabilize(current: int, wish: int, settings: Settings, memory: Memory, now: float) -> tuple[int, bool]:
    """Go up no further than the least, down no further than the most that was wished for within each window."""
    up = min((wish, *(each for when, each in memory.wishes if when > now - settings.up.window_seconds)))
    down = max((wish, *(each for when, each in memory.wishes if when > now - settings.down.window_seconds)))
    kept = min(max(current, up), down)
    return kept, kept != wish


def _paced(current: int, wish: int, settings: Settings, memory: Memory, now: float) -> tuple[int, str]:
    if wish > current:
        limit = _limit_up(current, settings.up, memory, now)
        return (limit, "ScaleUpLimit") if wish > limit else (wish, "")
    if wish < current:
        limit = _limit_down(current, settings.down, memory, now)
        return (limit, "ScaleDownLimit") if wish < limit else (wish, "")
    return wish, ""


def _limit_up(current: int, pace: Pace, memory: Memory, now: float) -> int:
    if pace.select == "Disabled":
        return current
    limits = []
    for policy in pace.policies:
        begun = current - sum(max(0, each) for when, each in memory.changes if when > now - policy.period_seconds)
        limits.append(begun + policy.value if policy.type == "Pods" else math.ceil(begun * (1 + policy.value / 100.0)))
    return max(current, min(limits) if pace.select == "Min" else max(limits))


def _limit_down(current: int, pace: Pace, memory: Memory, now: float) -> int:
    if pace.select == "Disabled":
        return current
    limits = []
    for policy in pace.policies:
        begun = current + sum(max(0, -each) for when, each in memory.changes if when > now - policy.period_seconds)
        limits.append(begun - policy.value if policy.type == "Pods" else math.floor(begun * (1 - policy.value / 100.0)))
    return min(current, max(limits) if pace.select == "Min" else min(limits))
