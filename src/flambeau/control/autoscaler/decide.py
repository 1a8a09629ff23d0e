"""What Knative's pod autoscaler would wish, and why. Pure: observed, settings, memory, now -> wish, reasons, memory.

Source: specification 4.7 (KPA): stable and panic windows, target with utilization, rates, burst capacity, activation, scale to zero
with its grace.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

TARGET_MIN = 0.01


@dataclass(frozen=True, slots=True)
class ScaleSettings:
    """What a revision's annotations and its component's fields say."""

    target_total: float = 100.0
    """Per replica: requests in flight (concurrency) or requests per second (rps), before utilization."""
    utilization_percent: float = 70.0
    stable_window_seconds: float = 60.0
    panic_window_percent: float = 10.0
    panic_threshold_percent: float = 200.0
    scale_up_rate_max: float = 1000.0
    scale_down_rate_max: float = 2.0
    scale_min: int = 1
    scale_max: int = 0
    """0: no limit."""
    scale_initial: int = 1
    """What a new revision begins with, until it has been ready once."""
    scale_activation: int = 1
    """The least number that a revision wakes up with from zero."""
    burst_capacity: float = 211.0
    zero_grace_seconds: float = 30.0
    zero_retention_seconds: float = 0.0
    """How long the last replica stays after the decision to remove it."""
    scale_down_delay_seconds: float = 0.0

    @property
    def target(self) -> float:
        """Return what one replica should carry."""
        return max(TARGET_MIN, self.target_total * self.utilization_percent / 100.0)

    @property
    def panic_window_seconds(self) -> float:
        """Return the short window's length, at least one second."""
        return max(1.0, self.stable_window_seconds * self.panic_window_percent / 100.0)


@dataclass(frozen=True, slots=True)
class Observed:
    """What was measured at one tick."""

    ready: int
    """Replicas that answer."""
    stable: float | None
    """Mean load over the stable window, over all replicas together; None: nothing was measured yet."""
    panic: float | None
    """The same over the panic window."""
    held: int = 0
    """Requests that wait at the gateway for a first replica."""


@dataclass(frozen=True, slots=True)
class Memory:
    """What one tick tells the next."""

    panic_since: float | None = None
    """When the panic condition was last true; None: no panic."""
    panic_wish: int = 0
    """The most wished for in this panic; it is never gone below."""
    was_ready: bool = False
    """The revision has been ready at its initial scale."""
    idle_since: float | None = None
    """Since when nothing was asked; None: something is."""
    lately: tuple[tuple[float, int], ...] = ()
    """(time, wish) of the scale-down delay's span."""


@dataclass(frozen=True, slots=True)
class Decision:
    """A wish, with its reasons in words and numbers."""

    wish: int
    reasons: tuple[str, ...]
    memory: Memory
    burst_capacity_left: int = 0
    """Below 0, the gateway's queue is needed to take a burst (Knative: the activator is in the path)."""

    @property
    def in_panic(self) -> bool:
        """Tell whether the short window decides."""
        return self.memory.panic_since is not None


def decide(observed: Observed, settings: ScaleSettings, memory: Memory, now: float) -> Decision:
    """Return how many replicas there should be.

    Args:
        observed: of this tick.
        settings: of the revision.
        memory: what the last decision returned; ``Memory()`` for a new revision.
        now: seconds on a monotonic clock.
    """
    ready = observed.ready
    if not memory.was_ready and ready >= max(1, settings.scale_initial):
        memory = replace(memory, was_ready=True)
    if observed.stable is None or observed.panic is None:
        wish = max(settings.scale_initial, settings.scale_min, 1 if observed.held else 0)
        return Decision(_bounded(wish, settings), ("nothing measured yet: initial scale",), memory)
    stable_wish, panic_wish, reasons = _wishes(observed.stable, observed.panic, settings, ready)
    memory = _panic(memory, panic_wish, ready, settings, now)
    wish = stable_wish
    if memory.panic_since is not None:
        wish = max(stable_wish, panic_wish, memory.panic_wish)
        memory = replace(memory, panic_wish=wish)
        reasons.append(f"panic: never below {wish}")
    wish, memory = _delayed(wish, memory, settings, now, reasons)
    wish, memory = _around_zero(wish, observed, memory, settings, now, reasons)
    bounded = _bounded(wish, settings)
    if bounded != wish:
        reasons.append(f"bounds {settings.scale_min}..{settings.scale_max or 'unlimited'}: {wish} becomes {bounded}")
    return Decision(bounded, tuple(reasons), memory, _burst_capacity_left(observed, settings))


def _wishes(stable: float, panic: float, settings: ScaleSettings, ready: int) -> tuple[int, int, list[str]]:
    """Return both windows' wishes, clamped by the rates, and how they came about."""
    most = math.ceil(settings.scale_up_rate_max * max(1, ready))
    least = math.floor(ready / settings.scale_down_rate_max)
    wishes = [min(max(math.ceil(load / settings.target), least), most) for load in (stable, panic)]
    reasons = [
        f"load {stable:.2f} over {settings.stable_window_seconds:g} s / target {settings.target:g} = {wishes[0]}",
        f"load {panic:.2f} over {settings.panic_window_seconds:g} s / target {settings.target:g} = {wishes[1]}",
    ]
    return wishes[0], wishes[1], reasons


def _panic(memory: Memory, panic_wish: int, ready: int, settings: ScaleSettings, now: float) -> Memory:
    """Enter, prolong or leave the panic: left when a whole stable window has passed without its condition."""
    if panic_wish / max(1, ready) >= settings.panic_threshold_percent / 100.0:
        return replace(memory, panic_since=now)
    if memory.panic_since is not None and now - memory.panic_since >= settings.stable_window_seconds:
        return replace(memory, panic_since=None, panic_wish=0)
    return memory


def _delayed(wish: int, memory: Memory, settings: ScaleSettings, now: float, reasons: list[str]) -> tuple[int, Memory]:
    """Go down only to the most that was wished for within the delay."""
    if settings.scale_down_delay_seconds <= 0:
        return wish, memory
    since = now - settings.scale_down_delay_seconds
    lately = (*(entry for entry in memory.lately if entry[0] > since and entry[1] > wish), (now, wish))
    most = max(entry[1] for entry in lately)
    if most > wish:
        reasons.append(f"scale-down delay {settings.scale_down_delay_seconds:g} s: {most} stays")
    return most, replace(memory, lately=lately)


def _around_zero(
    wish: int, observed: Observed, memory: Memory, settings: ScaleSettings, now: float, reasons: list[str]
) -> tuple[int, Memory]:
    """Wake up for what waits, keep the first replica until it has been ready, and let the last one go after the grace."""
    if wish > 0 or observed.held:
        memory = replace(memory, idle_since=None)
        wish = max(wish, 1)
        if observed.ready == 0 and settings.scale_activation > wish:
            reasons.append(f"activation scale {settings.scale_activation}")
            wish = settings.scale_activation
        if observed.held:
            reasons.append(f"{observed.held} requests wait for a replica")
    if not memory.was_ready and wish < settings.scale_initial:
        reasons.append(f"initial scale {settings.scale_initial} not reached yet")
        return settings.scale_initial, memory
    if wish > 0 or settings.scale_min > 0 or (observed.ready == 0 and memory.idle_since is None and memory.was_ready):
        return wish, memory
    idle_since = memory.idle_since if memory.idle_since is not None else now
    memory = replace(memory, idle_since=idle_since)
    grace = max(settings.zero_grace_seconds, settings.zero_retention_seconds)
    if now - idle_since < grace:
        reasons.append(f"idle for {now - idle_since:.0f} s: the last replica stays {grace:g} s")
        return 1, memory
    reasons.append(f"idle for {now - idle_since:.0f} s: to zero")
    return 0, memory


def _bounded(wish: int, settings: ScaleSettings) -> int:
    wish = max(wish, settings.scale_min)
    return min(wish, settings.scale_max) if settings.scale_max else wish


def _burst_capacity_left(observed: Observed, settings: ScaleSettings) -> int:
    """Return Knative's excess burst capacity: 0 keeps the queue out, -1 keeps it in for ever."""
    if settings.burst_capacity in (0, -1):
        return int(settings.burst_capacity)
    return math.floor(observed.ready * settings.target_total - settings.burst_capacity - (observed.panic or 0.0))
