"""How many workers a model should have, between its minimum and maximum. Pure."""

from __future__ import annotations

from dataclasses import dataclass

GROW_AFTER_SECONDS = 0.5
"""A job that waited this long while every worker was busy asks for one more worker."""
SHRINK_AFTER_SECONDS = 60.0
"""A worker above the minimum that was idle this long is let go; loading it again costs seconds."""


@dataclass(frozen=True, slots=True)
class Observed:
    """What the pool sees at one moment."""

    workers: int
    """Not counting those that are on their way out."""
    coming: int
    """Of these, still starting or loading."""
    idle: int
    oldest_wait_seconds: float | None
    """Age of the oldest queued job; None if none waits."""
    longest_idle_seconds: float
    """Of the worker that has been idle longest; 0 if none is."""


def wished_workers(observed: Observed, workers_min: int, workers_max: int) -> int:
    """Return how many workers there should be now.

    One at a time and never while one is still coming: what is coming may be enough, and starts take the busy workers' CPU.
    """
    workers = min(max(observed.workers, workers_min), workers_max)
    if workers != observed.workers:
        return workers
    waited = observed.oldest_wait_seconds
    # Nobody at all (minWorkers 0): nothing is gained by waiting to see.
    waits_long = waited is not None and (waited >= GROW_AFTER_SECONDS or workers == 0)
    if waits_long and not observed.idle and not observed.coming and workers < workers_max:
        return workers + 1
    if observed.longest_idle_seconds >= SHRINK_AFTER_SECONDS and workers > workers_min:
        return workers - 1
    return workers
