from __future__ import annotations

import pytest

from flambeau.serving.handlers import metrics as module
from flambeau.serving.handlers.metrics import Dimension, HandlerMetrics, MetricsCacheKeyError, MetricsCacheValueError, MetricTypes, Series

OF_MODEL = (Dimension("ModelName", "m"), Dimension("Level", "Model"))


def test_counters_add_up_and_gauges_keep_the_last() -> None:
    metrics = HandlerMetrics("m")
    metrics.add_counter("Seen", 2)
    metrics.add_counter("Seen", 3)
    metrics.add_time("Took", 5)
    metrics.add_time("Took", 7)
    seen = metrics.totals[Series("Seen", "Count", MetricTypes.COUNTER, OF_MODEL)]
    took = metrics.totals[Series("Took", "Milliseconds", MetricTypes.GAUGE, OF_MODEL)]
    assert (seen.count, seen.sum) == (2, 5)
    assert (took.count, took.last) == (2, 7)


def test_every_call_has_its_unit_and_dimensions() -> None:
    metrics = HandlerMetrics("m")
    mine = Dimension("Kind", "a")
    metrics.add_time("T", 1, unit="s")
    metrics.add_size("S", 1, unit="kB")
    metrics.add_percent("P", 1)
    metrics.add_error("E", 1, dimensions=[mine])
    metrics.add_metric("M", 1, "furlong", dimensions=[mine], metric_type=MetricTypes.HISTOGRAM)
    assert list(metrics.totals) == [
        Series("T", "Seconds", MetricTypes.GAUGE, OF_MODEL),
        Series("S", "Kilobytes", MetricTypes.GAUGE, OF_MODEL),
        Series("P", "Percent", MetricTypes.GAUGE, OF_MODEL),
        Series("E", "unit", MetricTypes.COUNTER, (mine, Dimension("Level", "Error"))),
        Series("M", "furlong", MetricTypes.HISTOGRAM, (mine, *OF_MODEL)),
    ]


def test_units_are_checked() -> None:
    metrics = HandlerMetrics("m")
    with pytest.raises(MetricsCacheValueError, match="'MB' is not one of ms, s"):
        metrics.add_time("T", 1, unit="MB")
    with pytest.raises(ValueError, match="'ms' is not one of MB"):
        metrics.add_size("S", 1, unit="ms")


def test_declared_metrics() -> None:
    metrics = HandlerMetrics("m")
    declared = metrics.add_metric_to_cache("Mine", "count", ["Kind"], MetricTypes.GAUGE)
    declared.add_or_update(4, ["a"])
    assert metrics.get_metric("Mine", MetricTypes.GAUGE) is declared
    assert metrics.totals[Series("Mine", "Count", MetricTypes.GAUGE, (Dimension("Kind", "a"),))].last == 4
    declared.add_or_update(4, ["a", "too many"])
    assert metrics.dropped == 1
    with pytest.raises(MetricsCacheKeyError):
        metrics.get_metric("Mine", MetricTypes.COUNTER)


def test_negative_counters_and_too_many_series_are_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SERIES_MAX", 2)
    metrics = HandlerMetrics("m")
    metrics.add_counter("A", -1)
    for name in "ABCA":
        metrics.add_counter(name, 1)
    assert [series.name for series in metrics.totals] == ["A", "B"]
    assert metrics.dropped == 2
