"""Averages over sliding windows of one-second buckets. Pure: time is an argument.

Source: Knative's aggregation (specification 4.7): buckets of 1 s; an average divides by the seconds that have been seen, up to the window,
so that a young revision isn't averaged down by seconds in which it did not exist.
"""

from __future__ import annotations

import math
from collections import deque

BUCKET_SECONDS = 1.0


class Window:
    """Keep the last seconds of one number.

    Args:
        seconds: how far back averages can look.
    """

    def __init__(self, seconds: float) -> None:
        self._buckets_max = max(1, math.ceil(seconds / BUCKET_SECONDS))
        self._buckets: deque[tuple[int, float]] = deque()
        self._first: int | None = None

    def record(self, now: float, value: float) -> None:
        """Set the value of the second that contains ``now``; a second without a record counts as 0."""
        second = math.floor(now / BUCKET_SECONDS)
        if self._first is None:
            self._first = second
        if self._buckets and self._buckets[-1][0] == second:
            self._buckets.pop()
        self._buckets.append((second, value))
        while self._buckets[0][0] <= second - self._buckets_max:
            self._buckets.popleft()

    def average(self, now: float, seconds: float) -> float | None:
        """Return the mean over the last seconds; None before the first record.

        Args:
            now: the end of the window.
            seconds: its length; at most the length this was made with.
        """
        if self._first is None:
            return None
        last = math.floor(now / BUCKET_SECONDS)
        span = min(max(1, math.ceil(seconds / BUCKET_SECONDS)), self._buckets_max)
        seen = min(span, last - self._first + 1)
        total = sum(value for second, value in self._buckets if last - span < second <= last)
        return total / max(1, seen)
