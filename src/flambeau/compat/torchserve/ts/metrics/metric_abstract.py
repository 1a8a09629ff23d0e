"""``from ts.metrics.metric_abstract import MetricAbstract``: the one class of metrics there is."""

from flambeau.serving.handlers.metrics import CachingMetric as MetricAbstract
from flambeau.serving.handlers.older.metrics_store import MetricUnit

__all__ = ["MetricAbstract", "MetricUnit"]
