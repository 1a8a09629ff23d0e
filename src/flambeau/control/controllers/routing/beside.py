"""What the gateway saw beside the requests, in words for a service's events: shadows that differ, copies that were lost. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from flambeau.gateway.document import Document


@dataclass(frozen=True, slots=True)
class Told:
    """Something to be told of a backend's service."""

    backend: str
    reason: str
    message: str


def is_wanted(document: Document) -> bool:
    """Tell whether any backend has something beside it that people want to hear of."""
    return any(backend.shadow is not None or backend.logger is not None for backend in document.backends)


def news(before: dict[str, Any], now: dict[str, Any]) -> list[Told]:
    """Return what happened between two readings of the gateway's status.

    Args:
        before: the status's ``backends``; empty at first.
        now: the same, later.
    """
    found = []
    for name, backend in now.items():
        was = before.get(name, {})
        shadow, log = backend.get("shadow"), backend.get("logger")
        if shadow and shadow["different"] > _number(was, "shadow", "different"):
            compared = shadow["same"] + shadow["different"]
            own, real = (1000 * shadow[f"{which}_seconds"] / compared for which in ("shadow", "real"))
            times = f"{own:.1f} ms on average, the real one {real:.1f} ms"
            message = f"{shadow['different']} of {compared} answers of shadow {shadow['name']} differ ({times}); the last: {shadow['last']}"
            found.append(Told(name, "ShadowDiffers", message))
        for field, reason, words in (
            ("dropped", "EventsDropped", "copies for the logger were dropped: the collector is too slow, or bodies are too long"),
            ("failed", "EventsFailed", "copies for the logger did not arrive"),
        ):
            if log and log[field] > _number(was, "logger", field):
                cause = f"; the last: {log['last_failure']}" if field == "failed" else ""
                found.append(Told(name, reason, f"{log[field]} {words}{cause}"))
    return found


def _number(backend: dict[str, Any], part: str, field: str) -> int:
    """Return a counter of an earlier reading; a gateway that was started again counts from 0."""
    return int((backend.get(part) or {}).get(field, 0))
