"""The numbers that handlers add with ``context.metrics``: checked, named and kept until the worker sends them to the front.

Bookkeeping: nothing here is sent, and only a metric that a user's code made outside a model is printed.
"""

from __future__ import annotations

import logging
import math
import socket
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

from flambeau.serving.model import MetricDeclaration, MetricUpdate

logger = logging.getLogger(__name__)

UPDATES_MAX = 1000
"""The most updates that wait for the end of a batch; further ones are dropped and counted, because a handler that measures in a loop
would otherwise fill the memory."""

TIME_UNITS = {"ms": "Milliseconds", "s": "Seconds"}
SIZE_UNITS = {"MB": "Megabytes", "GB": "Gigabytes", "kB": "Kilobytes", "B": "Bytes"}
UNITS = {**TIME_UNITS, **SIZE_UNITS, "percent": "Percent", "count": "Count", "": "unit"}
"""What handlers write -> what TorchServe's logs and pages say; other units stay as they are."""


class GeneralMetricsCacheError(Exception):
    """Something is wrong with a handler's metrics."""


class MetricsCacheIOError(OSError):
    """A metrics file can't be read."""


class MetricsCachePyYamlError(ValueError):
    """A metrics file is not YAML."""


class MetricsCacheTypeError(TypeError):
    """A metric's name, unit or dimensions are of the wrong type."""


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


class CachingMetric:
    """Update one declared metric, as ``add_metric_to_cache`` returns it.

    Args:
        metric_name: the metric's name.
        unit: its unit, whole or abbreviated.
        dimension_names: what its values are told apart by.
        metric_type: how updates add up.
        metrics: takes the updates; None: each is a line of the log, in the form that TorchServe's front parses.
    """

    def __init__(
        self,
        metric_name: str,
        unit: str,
        dimension_names: Sequence[str] | None = None,
        metric_type: MetricTypes = MetricTypes.COUNTER,
        metrics: HandlerMetrics | None = None,
    ) -> None:
        self.metric_name = metric_name
        self.unit = UNITS.get(unit or "", unit)
        self.dimension_names = list(dimension_names or ())
        self.metric_type = metric_type
        self._metrics = metrics

    def add_or_update(self, value: float, dimension_values: Sequence[str] = (), request_id: str = "") -> None:
        """Add a value for the dimensions' values, in the order they were declared.

        A negative counter or a wrong number of values is counted as dropped, not raised: a metric never fails a prediction.

        Args:
            value: what was measured.
            dimension_values: one for each declared name.
            request_id: the request that it is about.
        """
        if len(dimension_values) != len(self.dimension_names):
            if self._metrics is not None:
                self._metrics.dropped += 1
            return
        dimensions = [Dimension(name, str(text)) for name, text in zip(self.dimension_names, dimension_values, strict=True)]
        self.update(value, request_id, dimensions)

    def update(self, value: float, request_id: str = "", dimensions: Sequence[Dimension] = ()) -> None:
        """Add a value with whole dimensions, declared or not."""
        if self._metrics is not None:
            self._metrics.record(self.metric_name, value, self.unit, self.metric_type, dimensions, request_id)
            return
        about = ",".join(map(str, dimensions))
        when = f"{int(time.time())}{f',{request_id}' if request_id else ''}"
        kind, host = self.metric_type.name, socket.gethostname()
        logger.info("[METRICS]%s.%s:%s|#%s|#type:%s|#hostname:%s,%s", self.metric_name, self.unit, value, about, kind, host, when)


class HandlerMetrics:
    """Keep what a handler measures until :meth:`take_updates`.

    Args:
        model_name: becomes the dimension ``ModelName`` of every metric but errors.
        declared: what a metrics.yaml declares.
    """

    def __init__(self, model_name: str, declared: Sequence[MetricDeclaration] = ()) -> None:
        self.model_name = model_name
        self._of_model = (Dimension("ModelName", model_name), Dimension("Level", "Model"))
        self._declared: dict[MetricTypes, dict[str, CachingMetric]] = {}
        self._updates: list[MetricUpdate] = []
        self._request_ids: Mapping[int, str] = {}
        self.dropped = 0
        """Updates that were not kept: over ``UPDATES_MAX``, negative counters, no numbers, wrong dimensions."""
        for each in declared:
            self.add_metric_to_cache(each.name, each.unit, each.dimensions, MetricTypes(each.kind))

    def set_request_ids(self, request_ids: Mapping[int, str]) -> None:
        """Set whom the next updates are about: the batch's request ids by their place."""
        self._request_ids = request_ids

    def take_updates(self) -> list[MetricUpdate]:
        """Return what was measured since the last call."""
        if not self._updates:
            return []
        taken, self._updates = self._updates, []
        return taken

    def add_counter(self, name: str, value: float, idx: int | None = None, dimensions: Sequence[Dimension] | None = None) -> None:
        """Count something up by ``value``; ``idx`` is the row it is about, None for the whole batch."""
        self._about(name, value, "Count", MetricTypes.COUNTER, dimensions, idx)

    def add_time(
        self,
        name: str,
        value: float,
        idx: int | None = None,
        unit: str = "ms",
        dimensions: Sequence[Dimension] | None = None,
        metric_type: MetricTypes = MetricTypes.GAUGE,
    ) -> None:
        """Record a duration in ``ms`` or ``s``.

        Raises:
            MetricsCacheValueError: another unit.
        """
        self._about(name, value, _unit_of(unit, TIME_UNITS), metric_type, dimensions, idx)

    def add_size(
        self,
        name: str,
        value: float,
        idx: int | None = None,
        unit: str = "MB",
        dimensions: Sequence[Dimension] | None = None,
        metric_type: MetricTypes = MetricTypes.GAUGE,
    ) -> None:
        """Record a size in ``MB``, ``GB``, ``kB`` or ``B``.

        Raises:
            MetricsCacheValueError: another unit.
        """
        self._about(name, value, _unit_of(unit, SIZE_UNITS), metric_type, dimensions, idx)

    def add_percent(
        self,
        name: str,
        value: float,
        idx: int | None = None,
        dimensions: Sequence[Dimension] | None = None,
        metric_type: MetricTypes = MetricTypes.GAUGE,
    ) -> None:
        """Record a percentage."""
        self._about(name, value, "Percent", metric_type, dimensions, idx)

    def add_error(self, name: str, value: float, dimensions: Sequence[Dimension] | None = None) -> None:
        """Count an error."""
        self.record(name, value, "unit", MetricTypes.COUNTER, [*(dimensions or ()), Dimension("Level", "Error")])

    def add_metric(
        self,
        name: str,
        value: float,
        unit: str,
        idx: int | None = None,
        dimensions: Sequence[Dimension] | None = None,
        metric_type: MetricTypes = MetricTypes.COUNTER,
    ) -> None:
        """Record a value of any unit and type."""
        self._about(name, value, UNITS.get(unit or "", unit), metric_type, dimensions, idx)

    def add_metric_to_cache(
        self, metric_name: str, unit: str, dimension_names: Sequence[str] | None = None, metric_type: MetricTypes = MetricTypes.COUNTER
    ) -> CachingMetric:
        """Declare a metric and return the object that updates it."""
        metric = CachingMetric(metric_name, unit, dimension_names, metric_type, self)
        self._declared.setdefault(metric_type, {})[metric_name] = metric
        return metric

    def get_metric(self, metric_name: str, metric_type: MetricTypes = MetricTypes.COUNTER) -> CachingMetric:
        """Return a declared metric.

        Raises:
            MetricsCacheKeyError: it wasn't declared.
        """
        try:
            return self._declared[metric_type][metric_name]
        except KeyError:
            raise MetricsCacheKeyError(f"metric {metric_name} of type {metric_type.value} was not declared") from None

    def record(
        self, name: str, value: float, unit: str, kind: MetricTypes, dimensions: Sequence[Dimension], request_id: str | None = None
    ) -> None:
        """Keep one value.

        Raises:
            MetricsCacheTypeError: the name is no text.
        """
        if not isinstance(name, str):
            raise MetricsCacheTypeError(f"a metric's name must be a str, not {type(name).__name__}")
        try:
            number = float(value)
        except (TypeError, ValueError):
            number = math.nan
        if not math.isfinite(number) or (kind is MetricTypes.COUNTER and number < 0) or len(self._updates) >= UPDATES_MAX:
            self.dropped += 1
            return
        pairs = tuple([(str(dimension.name), str(dimension.value)) for dimension in dimensions])
        about = self._ids_of(None) if request_id is None else request_id
        self._updates.append(MetricUpdate(name, kind.value, unit, pairs, number, about))

    def _about(
        self, name: str, value: float, unit: str, kind: MetricTypes, dimensions: Sequence[Dimension] | None, idx: int | None
    ) -> None:
        """Keep one value of the model, about one row or about the whole batch."""
        self.record(name, value, unit, kind, [*(dimensions or ()), *self._of_model], self._ids_of(idx))

    def _ids_of(self, idx: int | None) -> str:
        return ",".join(self._request_ids.values()) if idx is None else self._request_ids.get(idx, "")


def _unit_of(unit: str, allowed: dict[str, str]) -> str:
    try:
        return allowed[unit]
    except KeyError:
        raise MetricsCacheValueError(f"unit {unit!r} is not one of {', '.join(allowed)}") from None
