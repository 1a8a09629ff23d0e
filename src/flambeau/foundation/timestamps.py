"""Forms of a time. Pure: no clock is read."""

from __future__ import annotations

import datetime
import functools


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


def log4j_time(wall_seconds: float) -> str:
    """Return log4j's ``%d{ISO8601}``, which is in TorchServe's logs: this machine's time, with a comma before the milliseconds."""
    second, milliseconds = divmod(int(wall_seconds * 1000), 1000)
    return f"{_local_second(second)},{milliseconds:03d}"


@functools.lru_cache(maxsize=4)
def _local_second(second: int) -> str:
    """A busy log asks a thousand times a second for the same text."""
    return datetime.datetime.fromtimestamp(second).isoformat()
