"""How old something is, in the words of ``kubectl get``. Pure."""

from __future__ import annotations

from flambeau.control.resources.kind import Column, Object
from flambeau.control.resources.lookup import find
from flambeau.foundation.timestamps import parse_rfc3339

_MINUTE = 60
_HOUR = 60 * _MINUTE
_DAY = 24 * _HOUR
_YEAR = 365 * _DAY

_BANDS = (
    # (below this many seconds, unit and its letter, smaller unit and its letter or None)
    (2 * _MINUTE, 1, "s", None),
    (10 * _MINUTE, _MINUTE, "m", (1, "s")),
    (3 * _HOUR, _MINUTE, "m", None),
    (8 * _HOUR, _HOUR, "h", (_MINUTE, "m")),
    (48 * _HOUR, _HOUR, "h", None),
    (8 * _DAY, _DAY, "d", (_HOUR, "h")),
    (2 * _YEAR, _DAY, "d", None),
    (8 * _YEAR, _YEAR, "y", (_DAY, "d")),
)


def age_text(seconds: float) -> str:
    """Return a duration the way Kubernetes' tables say it: ``95s``, ``3m12s``, ``125m``, ``5h7m``, ``30h``, ``3d4h``, ``200d``."""
    whole = int(seconds)
    if whole < 0:
        # A clock that is one second off is no news; more is said as Kubernetes says it.
        return "0s" if whole >= -1 else "<invalid>"
    for below, unit, letter, smaller in _BANDS:
        if whole < below:
            text = f"{whole // unit}{letter}"
            if smaller is not None:
                rest = whole % unit // smaller[0]
                text += f"{rest}{smaller[1]}" if rest else ""
            return text
    return f"{whole // _YEAR}y"


def since(timestamp: object, now: float) -> str:
    """Return how long ago an RFC 3339 time was; ``<unknown>`` where there is none."""
    if not isinstance(timestamp, str):
        return "<unknown>"
    try:
        return age_text(now - parse_rfc3339(timestamp))
    except ValueError:
        return "<unknown>"


def _age(obj: Object, now: float) -> str:
    return since(find(obj, "metadata", "creationTimestamp"), now)


AGE_COLUMN = Column("Age", _age)
