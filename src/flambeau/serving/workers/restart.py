"""When to start a worker's successor: at once, then ever later, never giving up.

Pure. TorchServe gives up after its retry window and lets requests hang; here the window's end only makes the tries rare, and the
queue answers with the cause meanwhile.
"""

from __future__ import annotations

from dataclasses import dataclass

DELAYS_SECONDS = (0.0, 1.0, 2.0, 3.0, 5.0, 8.0, 13.0, 21.0, 34.0)
"""Before the first, second, ... start after failures in a row; the last one repeats until the retry window is over."""
SLOW_DELAY_SECONDS = 60.0
"""Between tries after the window: whoever repairs the cause (a mounted file, a database) need not restart the server."""
PROVEN_SECONDS = 10.0
"""A worker that was loaded this long, or answered anything, shows that its predecessor's failure is over."""


@dataclass(frozen=True, slots=True)
class Failures:
    """The failures in a row of one model's workers: of successors, not of contemporaries."""

    count: int = 0
    first_at: float = 0.0
    last_at: float = 0.0


def after_failure(failures: Failures, now: float, *, asked_at: float, proven: bool) -> Failures:
    """Return the row after one more worker failed.

    Args:
        failures: the row so far.
        now: when it failed.
        asked_at: when it was asked for. Before the row's last failure: both fell to the same cause, and the row is no longer for it.
        proven: whether this worker had shown that it can work, which begins a new row.
    """
    if failures.count and asked_at < failures.last_at:
        return failures
    if proven or not failures.count:
        return Failures(1, now, now)
    return Failures(failures.count + 1, failures.first_at, now)


def delay_seconds(failures: Failures, now: float, window_seconds: float) -> float:
    """Return how long to wait before the next start.

    Args:
        failures: the row, its count at least 1.
        now: the present.
        window_seconds: maxRetryTimeoutInSec, from the row's first failure.
    """
    if failures.count > 1 and now - failures.first_at >= window_seconds:
        return SLOW_DELAY_SECONDS
    return DELAYS_SECONDS[min(failures.count, len(DELAYS_SECONDS)) - 1]
