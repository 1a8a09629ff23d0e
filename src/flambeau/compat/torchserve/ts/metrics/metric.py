"""``from ts.metrics.metric import Metric``."""

from flambeau.serving.handlers.older.metrics_store import Metric, MetricUnit

__all__ = ["Metric", "MetricUnit"]
