"""``from ts.metrics.metric_cache_abstract import MetricCacheAbstract``: the class of ``context.metrics``."""

from flambeau.serving.handlers.metrics import HandlerMetrics as MetricCacheAbstract

__all__ = ["MetricCacheAbstract"]
