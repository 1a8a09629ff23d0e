"""One coarse timer for many deadlines."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

COARSENESS_SECONDS = 0.02
"""A deadline is noticed up to this late, so that many close ones cost one wake-up."""


class Alarm:
    """Call back when the earliest of the owner's deadlines has passed; the owner keeps the deadlines.

    Setting a later deadline than the armed one costs a comparison, which is what nearly every request does.

    Args:
        on_due: called with the loop's time; returns the next deadline, or None.
    """

    def __init__(self, on_due: Callable[[float], float | None]) -> None:
        self._on_due = on_due
        self._timer: asyncio.TimerHandle | None = None
        self._when = float("inf")
        self._closed = False

    def set_by(self, when: float) -> None:
        """Make sure of a call soon after this time of the loop's clock."""
        if when < self._when and not self._closed:
            if self._timer is not None:
                self._timer.cancel()
            self._when = when
            self._timer = asyncio.get_running_loop().call_at(when + COARSENESS_SECONDS, self._due)

    def close(self) -> None:
        """Call back no more."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _due(self) -> None:
        self._timer = None
        self._when = float("inf")
        following = self._on_due(asyncio.get_running_loop().time())
        if following is not None:
            self.set_by(following)
