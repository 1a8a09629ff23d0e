"""``from ts.metrics.metric_cache_yaml_impl import MetricsCacheYamlImpl``; ``context.metrics`` is its parent class."""

from flambeau.serving.handlers.older.metrics_file import MetricsCacheYamlImpl

__all__ = ["MetricsCacheYamlImpl"]
