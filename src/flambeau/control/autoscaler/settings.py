"""A revision's scaling settings, from its annotations. Pure.

Source: specification 4.7, columns "default" and "per-revision annotation". A value that can't be read counts as not given: a scaler must
not stop over an annotation.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from flambeau.control.autoscaler.decide import ScaleSettings
from flambeau.control.resources.durations import duration_seconds
from flambeau.control.resources.kind import Object

PREFIX = "autoscaling.knative.dev/"
CONCURRENCY_TARGET = 100.0
RPS_TARGET = 200.0
WINDOW_SECONDS_MIN, WINDOW_SECONDS_MAX = 6.0, 3600.0
NUMBER_MAX = 1e9
"""Of any setting: what is more means the same, and can't be reckoned with."""


@dataclass(frozen=True, slots=True)
class Scaling:
    """How a revision is scaled, and by which number."""

    settings: ScaleSettings
    metric: str
    """``concurrency`` or ``rps``."""


def scaling_of(revision: Object, machine_max: int) -> Scaling:
    """Return the settings.

    Args:
        revision: whose annotations say them; containerConcurrency is in its spec.
        machine_max: replicas of a revision that names no maximum: this is one machine.
    """
    said = _Said(revision["metadata"].get("annotations") or {})
    metric = "rps" if said.text("metric") == "rps" else "concurrency"
    least = int(said.number("min-scale", 1))
    settings = ScaleSettings(
        target_total=_target_total(revision, metric, said),
        utilization_percent=said.number("target-utilization-percentage", 70, 1, 100),
        stable_window_seconds=min(max(said.seconds("window", 60.0), WINDOW_SECONDS_MIN), WINDOW_SECONDS_MAX),
        panic_window_percent=said.number("panic-window-percentage", 10, 1, 100),
        panic_threshold_percent=said.number("panic-threshold-percentage", 200, 110, 1000),
        scale_min=least,
        scale_max=int(said.number("max-scale", 0)) or max(machine_max, least),
        scale_initial=int(said.number("initial-scale", 1)),
        scale_activation=int(said.number("activation-scale", 1, 1)),
        burst_capacity=said.number("target-burst-capacity", 211, -1),
        zero_grace_seconds=0.0,  # Knative's time to put its activator in the path; our gateway always is
        zero_retention_seconds=said.seconds("scale-to-zero-pod-retention-period", 0.0),
        scale_down_delay_seconds=said.seconds("scale-down-delay", 0.0),
    )
    return Scaling(settings, metric)


def _target_total(revision: Object, metric: str, said: _Said) -> float:
    """Return what one replica can take: the hard limit where there is one, less where the target says so."""
    if metric == "rps":
        return said.number("target", RPS_TARGET, 1)
    limit = float((revision.get("spec") or {}).get("containerConcurrency") or 0)
    target = said.number("target", limit or CONCURRENCY_TARGET, 0.01)
    return min(target, limit) if limit else target


class _Said:
    """What annotations say, read leniently."""

    def __init__(self, annotations: Mapping[str, str]) -> None:
        self._annotations = annotations

    def text(self, name: str) -> str | None:
        return self._annotations.get(PREFIX + name)

    def number(self, name: str, default: float, least: float = 0.0, most: float = NUMBER_MAX) -> float:
        try:
            value = float(self._annotations[PREFIX + name])
        except (KeyError, ValueError):
            return default
        return min(max(value, least), most) if math.isfinite(value) else default

    def seconds(self, name: str, default: float) -> float:
        try:
            return duration_seconds(self._annotations[PREFIX + name])
        except (KeyError, ValueError):
            return default
