from __future__ import annotations

from typing import Any

import pytest

from flambeau.serving.handlers import metrics as module
from flambeau.serving.handlers.metrics import (
    Dimension,
    HandlerMetrics,
    MetricsCacheKeyError,
    MetricsCacheTypeError,
    MetricsCacheValueError,
    MetricTypes,
)
from flambeau.serving.model import MetricDeclaration, MetricUpdate

OF_MODEL = (("ModelName", "m"), ("Level", "Model"))


def test_every_call_has_its_unit_and_dimensions() -> None:
    metrics = HandlerMetrics("m")
    mine = Dimension("Kind", "a")
    metrics.add_counter("C", 2)
    metrics.add_time("T", 1, unit="s")
    metrics.add_size("S", 1, unit="kB")
    metrics.add_percent("P", 1)
    metrics.add_error("E", 1, dimensions=[mine])
    metrics.add_metric("M", 1, "furlong", dimensions=[mine], metric_type=MetricTypes.HISTOGRAM)
    assert metrics.take_updates() == [
        MetricUpdate("C", "counter", "Count", OF_MODEL, 2.0),
        MetricUpdate("T", "gauge", "Seconds", OF_MODEL, 1.0),
        MetricUpdate("S", "gauge", "Kilobytes", OF_MODEL, 1.0),
        MetricUpdate("P", "gauge", "Percent", OF_MODEL, 1.0),
        MetricUpdate("E", "counter", "unit", (("Kind", "a"), ("Level", "Error")), 1.0),
        MetricUpdate("M", "histogram", "furlong", (("Kind", "a"), *OF_MODEL), 1.0),
    ]
    assert metrics.take_updates() == []


def test_updates_name_their_requests() -> None:
    metrics = HandlerMetrics("m")
    metrics.set_request_ids({0: "a", 1: "b"})
    metrics.add_counter("C", 1)
    metrics.add_counter("C", 1, idx=1)
    metrics.add_counter("C", 1, 7)
    assert [update.request_id for update in metrics.take_updates()] == ["a,b", "b", ""]


def test_units_and_names_are_checked() -> None:
    metrics = HandlerMetrics("m")
    with pytest.raises(MetricsCacheValueError, match="'MB' is not one of ms, s"):
        metrics.add_time("T", 1, unit="MB")
    with pytest.raises(ValueError, match="'ms' is not one of MB"):
        metrics.add_size("S", 1, unit="ms")
    with pytest.raises(MetricsCacheTypeError, match="must be a str, not int"):
        metrics.add_counter(7, 1)  # type: ignore[arg-type]


def test_declared_metrics() -> None:
    metrics = HandlerMetrics("m", [MetricDeclaration("FromFile", "histogram", "ms", ("Kind",))])
    declared = metrics.add_metric_to_cache("Mine", "count", ["Kind"], MetricTypes.GAUGE)
    assert metrics.get_metric("Mine", MetricTypes.GAUGE) is declared
    declared.add_or_update(4, ["a"], "id")
    declared.update(5, "id", [Dimension("Any", "b")])
    metrics.get_metric("FromFile", MetricTypes.HISTOGRAM).add_or_update(6, ["c"])
    assert metrics.take_updates() == [
        MetricUpdate("Mine", "gauge", "Count", (("Kind", "a"),), 4.0, "id"),
        MetricUpdate("Mine", "gauge", "Count", (("Any", "b"),), 5.0, "id"),
        MetricUpdate("FromFile", "histogram", "Milliseconds", (("Kind", "c"),), 6.0),
    ]
    declared.add_or_update(4, ["a", "too many"])
    assert metrics.dropped == 1
    with pytest.raises(MetricsCacheKeyError):
        metrics.get_metric("Mine", MetricTypes.COUNTER)


@pytest.mark.parametrize("value", [-1, float("nan"), "no number", None])
def test_what_is_no_count_is_dropped(value: Any) -> None:
    metrics = HandlerMetrics("m")
    metrics.add_counter("A", value)
    assert (metrics.take_updates(), metrics.dropped) == ([], 1)


def test_a_handler_that_measures_in_a_loop_fills_no_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "UPDATES_MAX", 2)
    metrics = HandlerMetrics("m")
    for _ in range(5):
        metrics.add_counter("A", 1)
    assert (len(metrics.take_updates()), metrics.dropped) == (2, 3)
    metrics.add_counter("A", 1)
    assert len(metrics.take_updates()) == 1
