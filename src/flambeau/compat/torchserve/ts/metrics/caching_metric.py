"""``from ts.metrics.caching_metric import CachingMetric``."""

from flambeau.serving.handlers.metrics import CachingMetric

__all__ = ["CachingMetric"]
