"""``from ts.metrics.metric_cache_errors import MetricsCacheValueError``."""

from flambeau.serving.handlers.metrics import MetricsCacheKeyError, MetricsCacheValueError

__all__ = ["MetricsCacheKeyError", "MetricsCacheValueError"]
