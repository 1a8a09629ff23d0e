"""Durations as Go and Istio write them: ``30s``, ``1m30s``, ``250ms``. Pure."""

from __future__ import annotations

import re

_PART = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|ms|s|m|h)")
_SECONDS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}


def duration_seconds(text: str) -> float:
    """Return a duration in seconds.

    Raises:
        ValueError: the text is no duration.
    """
    if text == "0":
        return 0.0
    total, place = 0.0, 0
    while place < len(text):
        part = _PART.match(text, place)
        if part is None:
            raise ValueError(f"{text!r} is no duration")
        total += float(part[1]) * _SECONDS[part[2]]
        place = part.end()
    if not text:
        raise ValueError("an empty text is no duration")
    return total
