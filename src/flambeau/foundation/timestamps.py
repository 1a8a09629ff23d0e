"""Kubernetes' form of a time. Pure: no clock is read."""

from __future__ import annotations

import datetime


def rfc3339(wall_seconds: float) -> str:
    """Return Kubernetes' form of a time: UTC, whole seconds, ``Z``."""
    moment = datetime.datetime.fromtimestamp(wall_seconds, tz=datetime.UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def parse_rfc3339(text: str) -> float:
    """Return seconds since the epoch.

    Raises:
        ValueError: the text isn't such a time.
    """
    return datetime.datetime.fromisoformat(text).timestamp()
