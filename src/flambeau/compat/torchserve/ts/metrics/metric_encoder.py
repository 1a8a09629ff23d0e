"""``from ts.metrics.metric_encoder import MetricEncoder``."""

from flambeau.serving.handlers.older.metrics_store import MetricEncoder

__all__ = ["MetricEncoder"]
