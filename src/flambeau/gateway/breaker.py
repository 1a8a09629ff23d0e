"""Passive health of one endpoint: who fails again and again is left alone for a while.

Pure. A failure is one of the connection (refused, timed out, cut before an answer), never a status that the model chose. Ejections grow
from 1 to 30 seconds, then one request tries again; a success forgets everything. ``balance`` ignores ejections when all are ejected.
"""

from __future__ import annotations

from dataclasses import dataclass

FAILURES_MAX = 3
"""Consecutive failures before the first ejection."""
EJECTION_SECONDS_FIRST = 1.0
EJECTION_SECONDS_MAX = 30.0


@dataclass(frozen=True, slots=True)
class Health:
    """What is remembered of an endpoint."""

    failures: int = 0
    """Consecutive."""
    ejections: int = 0
    """Since the last success."""
    ejected_until: float = 0.0
    """Monotonic seconds."""

    def is_ejected(self, now: float) -> bool:
        """Tell whether the endpoint is to be left alone."""
        return now < self.ejected_until

    def after_failure(self, now: float) -> Health:
        """Return the health after one more failure; failures that come while it is ejected (late ones) don't lengthen that."""
        failures = self.failures + 1
        if failures < FAILURES_MAX or self.is_ejected(now):
            return Health(failures, self.ejections, self.ejected_until)
        seconds = min(EJECTION_SECONDS_FIRST * 2.0 ** min(self.ejections, 30), EJECTION_SECONDS_MAX)
        return Health(failures, self.ejections + 1, now + seconds)


HEALTHY = Health()
