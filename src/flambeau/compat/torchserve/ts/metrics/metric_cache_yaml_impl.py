"""``from ts.metrics.metric_cache_yaml_impl import MetricsCacheYamlImpl``: the type of ``context.metrics``."""

from flambeau.serving.handlers.metrics import HandlerMetrics as MetricsCacheYamlImpl

__all__ = ["MetricsCacheYamlImpl"]
