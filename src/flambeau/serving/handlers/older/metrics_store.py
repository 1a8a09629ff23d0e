"""The metrics of TorchServe's first years: a store of metric objects. Handlers' own tests still read them."""

from __future__ import annotations

import json
import logging
import socket
import time
from collections.abc import Mapping, Sequence
from typing import Any

from flambeau.serving.handlers.metrics import UNITS, Dimension, HandlerMetrics, MetricTypes

logger = logging.getLogger(__name__)


class Units:
    """Name the units that handlers abbreviate."""

    def __init__(self) -> None:
        self.units: dict[str | None, str] = {None: UNITS[""]}
        self.units.update(UNITS)


MetricUnit = Units()


class Metric:
    """Keep one metric's last value or sum.

    Args:
        name: the metric's.
        value: its first value.
        unit: its unit, whole or abbreviated.
        dimensions: what it is about.
        request_id: the request that it is about.
        metric_method: ``counter`` adds updates up; anything else keeps the last.
    """

    def __init__(
        self,
        name: str,
        value: float,
        unit: str,
        dimensions: Sequence[Dimension],
        request_id: str | None = None,
        metric_method: str | None = None,
    ) -> None:
        self.name = name
        self.value = value
        self.unit = UNITS.get(unit or "", unit)
        self.dimensions = list(dimensions)
        self.request_id = request_id
        self.metric_method = metric_method
        self.metric_type = MetricTypes.COUNTER

    def update(self, value: float) -> None:
        """Take a new value."""
        self.value = self.value + value if self.metric_method == "counter" else value

    def reset(self) -> None:
        """Begin at 0 again."""
        self.value = 0

    def to_dict(self) -> dict[str, Any]:
        """Return the form that TorchServe's logs use."""
        return {
            "MetricName": self.name,
            "Value": self.value,
            "Unit": self.unit,
            "Dimensions": self.dimensions,
            "Timestamp": int(time.time()),
            "HostName": socket.gethostname(),
            "RequestId": self.request_id,
        }

    def __str__(self) -> str:
        dimensions = ",".join(map(str, self.dimensions))
        about = f",{self.request_id}" if self.request_id else ""
        return f"{self.name}.{self.unit}:{self.value}|#{dimensions}|#hostname:{socket.gethostname()},{int(time.time())}{about}"


class MetricEncoder(json.JSONEncoder):
    """Write metrics and dimensions as JSON: ``json.dumps(metrics, cls=MetricEncoder)``."""

    def default(self, o: Any) -> Any:
        """Return a metric's or a dimension's dict.

        Raises:
            TypeError: it is neither.
        """
        return o.to_dict() if isinstance(o, Metric | Dimension) else super().default(o)


class MetricsStore(HandlerMetrics):
    """Keep what a handler measures as :class:`Metric` objects too, one for each name, unit and request.

    Args:
        request_ids: the batch's, by their place.
        model_name: becomes the dimension ``ModelName``.
    """

    def __init__(self, request_ids: Any, model_name: str) -> None:
        super().__init__(model_name)
        self.request_ids = request_ids
        self.cache: dict[str, Metric] = {}
        if isinstance(request_ids, Mapping):
            self.set_request_ids(request_ids)

    @property
    def store(self) -> list[Metric]:
        """The metrics, in the order in which they were first measured."""
        return list(self.cache.values())

    def record(
        self, name: str, value: float, unit: str, kind: MetricTypes, dimensions: Sequence[Dimension], request_id: str | None = None
    ) -> None:
        """Keep one value."""
        super().record(name, value, unit, kind, dimensions, request_id)
        key = f"{name}-{unit}-{request_id}"
        if key in self.cache:
            self.cache[key].update(value)
        else:
            method = "counter" if kind is MetricTypes.COUNTER else None
            self.cache[key] = Metric(name, value, unit, dimensions, request_id, method)


def emit_metrics(metrics: Mapping[str, Any] | Sequence[Any]) -> None:
    """Write metrics to the log in the form that TorchServe's front parses."""
    for metric in metrics.values() if isinstance(metrics, Mapping) else metrics:
        logger.info("[METRICS]%s", metric)
