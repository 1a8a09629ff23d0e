"""Makes one metric of every kind per request."""

# mypy: ignore-errors

from ts.metrics.dimension import Dimension
from ts.metrics.metric_type_enum import MetricTypes


class Counted:
    def initialize(self, context):
        metrics = context.metrics
        self.cached = metrics.add_metric_to_cache("InCache", "count", dimension_names=["Kind"], metric_type=MetricTypes.COUNTER)

    def handle(self, data, context):
        metrics = context.metrics
        metrics.add_counter("ACounter", 2)
        metrics.add_counter("WithDimension", 1, None, [Dimension("Color", "red")])
        metrics.add_time("ATime", 12.5)
        metrics.add_time("InSeconds", 1.5, None, "s")
        metrics.add_size("ASize", 3, None, "MB")
        metrics.add_percent("APercent", 55)
        metrics.add_error("AnError", 1)
        metrics.add_metric("AHistogram", 0.3, "ms", metric_type=MetricTypes.HISTOGRAM)
        metrics.add_metric("NotDeclared", 1, "count", metric_type=MetricTypes.COUNTER)
        self.cached.add_or_update(4, ["mine"])
        return ["counted"] * len(data)
