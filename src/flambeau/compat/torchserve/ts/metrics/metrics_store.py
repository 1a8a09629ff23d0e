"""``from ts.metrics.metrics_store import MetricsStore``."""

from flambeau.serving.handlers.older.metrics_store import MetricsStore

__all__ = ["MetricsStore"]
