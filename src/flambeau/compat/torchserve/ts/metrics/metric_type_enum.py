"""``from ts.metrics.metric_type_enum import MetricTypes``."""

from flambeau.serving.handlers.metrics import MetricTypes

__all__ = ["MetricTypes"]
