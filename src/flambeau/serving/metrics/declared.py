"""metrics.yaml: which metrics there are. Pure.

TorchServe's file has ``ts_metrics`` (those of the server; what is not listed is off) and ``model_metrics`` (those of handlers), each with
lists under ``counter``, ``gauge`` and ``histogram``. Without a file everything of the catalog is on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from itertools import pairwise
from typing import Any

import yaml

from flambeau.foundation.errors import InvalidInput
from flambeau.serving.metrics.catalog import BY_NAME, MODEL, OURS, SERVER, TORCHSERVE_BUCKETS, Family, Kind
from flambeau.serving.metrics.text import LABEL_PATTERN, NAME_PATTERN
from flambeau.serving.model import MetricDeclaration

METRICS_MAX = 1_000
"""So many metrics of one metrics.yaml."""
DIMENSIONS_MAX = 32
"""So many dimensions of one metric."""
BUCKETS_MAX = 100
"""So many buckets of one histogram."""

INTERVAL_SECONDS = 60.0
"""From one measurement of the machine to the next, where metric_time_interval says nothing else."""


_KINDS = frozenset(kind.value for kind in Kind)


class Mode(StrEnum):
    """Where metrics go: ``metrics_mode``."""

    PROMETHEUS = "prometheus"
    """To the page; the logs get none."""
    LOG = "log"
    """To the logs, one line each time; the page is empty."""
    LEGACY = "legacy"
    """TorchServe's three ``ts_`` counters to the page, everything else to the logs."""


@dataclass(frozen=True, slots=True)
class Declarations:
    """Which metrics there are besides ours."""

    server: Mapping[str, Family] = field(default_factory=lambda: {each.name: each for each in SERVER})
    """Of the server; what is not in it is not told."""
    model: Mapping[str, Family] = field(default_factory=lambda: {each.name: each for each in MODEL})
    """Of handlers."""

    def for_workers(self) -> tuple[MetricDeclaration, ...]:
        """Return what handlers find with ``context.metrics.get_metric``: without Hostname, which the front adds."""
        return tuple(
            MetricDeclaration(each.name, each.kind.value, each.unit, tuple(label for label in each.labels if label != "Hostname"))
            for each in self.model.values()
        )


@dataclass(frozen=True, slots=True)
class MetricsSettings:
    """What this room is told."""

    mode: Mode = Mode.PROMETHEUS
    declared: Declarations = field(default_factory=Declarations)
    auto_detect: bool = True
    """Whether handlers' metrics that no metrics.yaml declares are kept too."""
    measures_host: bool = True
    """Whether CPU, memory, disk and GPUs are measured (disable_system_metrics)."""
    interval_seconds: float = INTERVAL_SECONDS


def parse_metrics_yaml(text: str, *, source: str) -> tuple[Declarations, list[str]]:
    """Return what a metrics.yaml declares, and what is odd about it.

    Args:
        text: the file's.
        source: its name, for messages.

    Raises:
        InvalidInput: it is no metrics.yaml; the text says where.
    """
    try:
        found = yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError) as error:
        raise _refused(source, f"it is not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(found, dict) or not isinstance(found.get("model_metrics", {}), dict | None):
        raise _refused(source, "it must hold ts_metrics and model_metrics")
    notes: list[str] = []
    server: dict[str, Family] = {}
    for family in _families(found, "ts_metrics", source):
        known = BY_NAME.get(family.name)
        if known is None or known not in SERVER:
            notes.append(f"{source}: ts_metrics {family.name} is no metric of the server: it has no values")
        elif known.kind is not family.kind or len(known.labels) != len(family.labels):
            notes.append(f"{source}: {family.name} is a {known.kind} with {', '.join(known.labels)}: shown as such")
            server[family.name] = known
        else:
            server[family.name] = replace(known, unit=family.unit, labels=family.labels)
    model: dict[str, Family] = {}
    for family in _families(found, "model_metrics", source):
        if family.name in model:
            notes.append(f"{source}: model_metrics {family.name} stands there twice: the last counts")
        if any(family.name == each.name for each in (*SERVER, *OURS)):
            raise _refused(source, f"model_metrics {family.name} has the name of one of the server's metrics")
        labels = family.labels if "Hostname" in family.labels else (*family.labels, "Hostname")
        model[family.name] = replace(family, labels=labels)
    return Declarations(server, model), notes


def _families(found: dict[str, Any], section: str, source: str) -> list[Family]:
    content = found.get(section) or {}
    if not isinstance(content, dict):
        raise _refused(source, f"{section} must hold counter, gauge and histogram")
    families: list[Family] = []
    for kind_name, entries in content.items():
        if kind_name not in _KINDS:
            raise _refused(source, f"{section} holds {kind_name}: counter, gauge or histogram are known")
        if not isinstance(entries or [], list):
            raise _refused(source, f"{section}.{kind_name} must be a list")
        families += [
            _family(entry, Kind(kind_name), f"{section}.{kind_name}[{index}]", source) for index, entry in enumerate(entries or [])
        ]
    if len(families) > METRICS_MAX:
        raise _refused(source, f"{section} holds more than {METRICS_MAX} metrics")
    return families


def _family(entry: Any, kind: Kind, where: str, source: str) -> Family:
    if not isinstance(entry, dict):
        raise _refused(source, f"{where} must have name, unit and dimensions")
    name, unit, dimensions = entry.get("name"), entry.get("unit"), entry.get("dimensions") or []
    if not isinstance(name, str) or not NAME_PATTERN.fullmatch(name):
        raise _refused(source, f"{where}: {name!r} is no metric name: letters, digits and _")
    if not isinstance(unit, str) or not unit:
        raise _refused(source, f"{where} ({name}) has no unit")
    if not isinstance(dimensions, list) or len(dimensions) > DIMENSIONS_MAX:
        raise _refused(source, f"{where} ({name}): dimensions must be a list of at most {DIMENSIONS_MAX}")
    for dimension in dimensions:
        if not isinstance(dimension, str) or not LABEL_PATTERN.fullmatch(dimension):
            raise _refused(source, f"{where} ({name}): {dimension!r} is no dimension name: letters, digits and _")
    if len(set(dimensions)) < len(dimensions):
        raise _refused(source, f"{where} ({name}) names a dimension twice")
    buckets = _buckets(entry.get("buckets"), where, source) if kind is Kind.HISTOGRAM else ()
    return Family(name, kind, unit, tuple(dimensions), "Declared by metrics.yaml.", buckets)


def _buckets(found: Any, where: str, source: str) -> tuple[float, ...]:
    """Return a histogram's upper bounds; to name them is ours, TorchServe has one set for all."""
    if found is None:
        return TORCHSERVE_BUCKETS
    if not isinstance(found, list) or not 0 < len(found) <= BUCKETS_MAX or any(type(bound) not in (int, float) for bound in found):
        raise _refused(source, f"{where}: buckets must be a list of 1 to {BUCKETS_MAX} numbers")
    bounds = tuple(float(bound) for bound in found)
    if any(not low < high for low, high in pairwise(bounds)):
        raise _refused(source, f"{where}: buckets must rise")
    return bounds


def _refused(source: str, why: str) -> InvalidInput:
    return InvalidInput(f"cannot use metrics_config {source}: {why}", reason="InvalidConfiguration")
