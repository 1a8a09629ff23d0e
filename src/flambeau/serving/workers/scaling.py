"""How many workers a model should have, between its minimum and maximum. Pure."""

from __future__ import annotations

from dataclasses import dataclass

GROW_AFTER_SECONDS = 0.5
"""A job that waited this long while every worker was busy asks for one more worker."""
SHRINK_AFTER_SECONDS = 60.0
"""A worker above the minimum that was idle this long is let go; loading it again costs seconds."""
CALM_SECONDS = 30.0
"""So long after the number changed, no worker is let go: a load that comes in waves must not start and end workers with each wave."""


@dataclass(frozen=True, slots=True)
class Observed:
    """What the pool sees at one moment."""

    workers: int
    """Not counting those that are on their way out."""
    coming: int
    """Of these, still starting or loading."""
    idle: int
    """Workers that could take a job now."""
    oldest_wait_seconds: float | None
    """Age of the oldest queued job; None if none waits."""
    longest_idle_seconds: float
    """Of the worker that has been idle longest; 0 if none is."""
    unchanged_seconds: float = float("inf")
    """Since the number of workers was last changed."""


@dataclass(frozen=True, slots=True)
class Wish:
    """How many workers there should be, and why not as many as there are."""

    workers: int
    reason: str = ""


def wished_workers(observed: Observed, workers_min: int, workers_max: int) -> Wish:
    """Return how many workers there should be now.

    One at a time and never while one is still coming: what is coming may be enough, and starts take the busy workers' CPU. It grows in
    half a second and shrinks after a minute, so that it settles at what the load needs at its highest.
    """
    workers = min(max(observed.workers, workers_min), workers_max)
    if workers != observed.workers:
        return Wish(workers, f"between minWorkers {workers_min} and maxWorkers {workers_max}")
    waited = observed.oldest_wait_seconds
    # Nobody at all (minWorkers 0): nothing is gained by waiting to see.
    waits_long = waited is not None and (waited >= GROW_AFTER_SECONDS or workers == 0)
    if waited is not None and waits_long and not observed.idle and not observed.coming and workers < workers_max:
        return Wish(workers + 1, f"a request waits for {waited:.2f} s and every worker is busy")
    idle = observed.longest_idle_seconds
    if idle >= SHRINK_AFTER_SECONDS and observed.unchanged_seconds >= CALM_SECONDS and workers > workers_min:
        return Wish(workers - 1, f"a worker is idle for {idle:.0f} s")
    return Wish(workers)
