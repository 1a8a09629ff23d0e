"""The numbers that handlers add with ``context.metrics``, kept as totals until someone reads them.

Pure bookkeeping: nothing here prints, sends or knows a metrics format.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

SERIES_MAX = 1000
"""The most distinct (name, dimensions) pairs of one model; updates of further ones are dropped and counted, because a handler that
puts a request id in a dimension would otherwise fill the memory."""

_TIME_UNITS = {"ms": "Milliseconds", "s": "Seconds"}
_SIZE_UNITS = {"MB": "Megabytes", "GB": "Gigabytes", "kB": "Kilobytes", "B": "Bytes"}
_UNITS = {**_TIME_UNITS, **_SIZE_UNITS, "percent": "Percent", "count": "Count", "": "unit"}


class MetricsCacheValueError(ValueError):
    """A metric's unit, value or dimensions are not allowed."""


class MetricsCacheKeyError(KeyError):
    """There is no metric of that name and type."""


class MetricTypes(Enum):
    """How updates of a metric add up."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


@dataclass(frozen=True, slots=True)
class Dimension:
    """Name one property of a measured thing."""

    name: str
    value: str

    def __str__(self) -> str:
        return f"{self.name}:{self.value}"

    def to_dict(self) -> dict[str, str]:
        """Return the form that TorchServe's logs use."""
        return {"Name": self.name, "Value": self.value}


@dataclass(frozen=True, slots=True)
class Series:
    """Tell one line of a metric from another."""

    name: str
    unit: str
    kind: MetricTypes
    dimensions: tuple[Dimension, ...]


@dataclass(slots=True)
class Total:
    """Add up the updates of one series."""

    count: int = 0
    sum: float = 0.0
    last: float = 0.0

    def add(self, value: float) -> None:
        """Count one more update."""
        self.count += 1
        self.sum += value
        self.last = value


class CachingMetric:
    """Update one declared metric, as ``add_metric_to_cache`` returns it."""

    def __init__(self, metrics: HandlerMetrics, name: str, unit: str, dimension_names: Sequence[str], kind: MetricTypes) -> None:
        self.metric_name = name
        self.unit = unit
        self.dimension_names = list(dimension_names)
        self.metric_type = kind
        self._metrics = metrics

    def add_or_update(self, value: float, dimension_values: Sequence[str] = (), request_id: str = "") -> None:
        """Add a value for the dimensions' values, in the order they were declared.

        A negative counter or a wrong number of values is counted as dropped, not raised: a metric never fails a prediction.
        """
        del request_id  # TorchServe prints it on the log line; totals have no place for it
        if len(dimension_values) != len(self.dimension_names):
            self._metrics.dropped += 1
            return
        dimensions = [Dimension(name, str(text)) for name, text in zip(self.dimension_names, dimension_values, strict=True)]
        self._metrics.record(self.metric_name, value, self.unit, self.metric_type, dimensions)


class HandlerMetrics:
    """Keep what a handler measures.

    Args:
        model_name: becomes the dimension ``ModelName`` of every metric but errors.
    """

    def __init__(self, model_name: str) -> None:
        self._of_model = (Dimension("ModelName", model_name), Dimension("Level", "Model"))
        self._declared: dict[tuple[str, MetricTypes], CachingMetric] = {}
        self.totals: dict[Series, Total] = {}
        self.dropped = 0
        """Updates that were not kept: over ``SERIES_MAX``, negative counters, wrong dimensions."""

    def add_counter(self, name: str, value: float, idx: int | None = None, dimensions: Sequence[Dimension] = ()) -> None:
        """Count something up by ``value``; ``idx``, the row it is about, changes nothing in a total."""
        self.record(name, value, "Count", MetricTypes.COUNTER, [*dimensions, *self._of_model])

    def add_time(
        self,
        name: str,
        value: float,
        idx: int | None = None,
        unit: str = "ms",
        dimensions: Sequence[Dimension] = (),
        metric_type: MetricTypes = MetricTypes.GAUGE,
    ) -> None:
        """Record a duration in ``ms`` or ``s``.

        Raises:
            MetricsCacheValueError: another unit.
        """
        self.record(name, value, _unit_of(unit, _TIME_UNITS), metric_type, [*dimensions, *self._of_model])

    def add_size(
        self,
        name: str,
        value: float,
        idx: int | None = None,
        unit: str = "MB",
        dimensions: Sequence[Dimension] = (),
        metric_type: MetricTypes = MetricTypes.GAUGE,
    ) -> None:
        """Record a size in ``MB``, ``GB``, ``kB`` or ``B``.

        Raises:
            MetricsCacheValueError: another unit.
        """
        self.record(name, value, _unit_of(unit, _SIZE_UNITS), metric_type, [*dimensions, *self._of_model])

    def add_percent(
        self,
        name: str,
        value: float,
        idx: int | None = None,
        dimensions: Sequence[Dimension] = (),
        metric_type: MetricTypes = MetricTypes.GAUGE,
    ) -> None:
        """Record a percentage."""
        self.record(name, value, "Percent", metric_type, [*dimensions, *self._of_model])

    def add_error(self, name: str, value: float, dimensions: Sequence[Dimension] = ()) -> None:
        """Count an error."""
        self.record(name, value, "unit", MetricTypes.COUNTER, [*dimensions, Dimension("Level", "Error")])

    def add_metric(
        self,
        name: str,
        value: float,
        unit: str,
        idx: int | None = None,
        dimensions: Sequence[Dimension] = (),
        metric_type: MetricTypes = MetricTypes.COUNTER,
    ) -> None:
        """Record a value of any unit and type."""
        self.record(name, value, _UNITS.get(unit, unit), metric_type, [*dimensions, *self._of_model])

    def add_metric_to_cache(
        self, metric_name: str, unit: str, dimension_names: Sequence[str] = (), metric_type: MetricTypes = MetricTypes.COUNTER
    ) -> CachingMetric:
        """Declare a metric and return the object that updates it."""
        metric = CachingMetric(self, metric_name, _UNITS.get(unit, unit), dimension_names, metric_type)
        self._declared[metric_name, metric_type] = metric
        return metric

    def get_metric(self, metric_name: str, metric_type: MetricTypes = MetricTypes.COUNTER) -> CachingMetric:
        """Return a declared metric.

        Raises:
            MetricsCacheKeyError: it wasn't declared.
        """
        try:
            return self._declared[metric_name, metric_type]
        except KeyError:
            raise MetricsCacheKeyError(f"metric {metric_name} of type {metric_type.value} was not declared") from None

    def record(self, name: str, value: float, unit: str, kind: MetricTypes, dimensions: Sequence[Dimension]) -> None:
        """Add one value to its series."""
        series = Series(name, unit, kind, tuple(dimensions))
        total = self.totals.get(series)
        if (kind is MetricTypes.COUNTER and value < 0) or (total is None and len(self.totals) >= SERIES_MAX):
            self.dropped += 1
            return
        if total is None:
            total = self.totals[series] = Total()
        total.add(value)


def _unit_of(unit: str, allowed: dict[str, str]) -> str:
    try:
        return allowed[unit]
    except KeyError:
        raise MetricsCacheValueError(f"unit {unit!r} is not one of {', '.join(allowed)}") from None
