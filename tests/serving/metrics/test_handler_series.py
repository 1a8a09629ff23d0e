from __future__ import annotations

import logging

import pytest

from flambeau.serving.metrics import handlers as module
from flambeau.serving.metrics.declared import Declarations, parse_metrics_yaml
from flambeau.serving.metrics.handlers import HandlerSeries
from flambeau.serving.metrics.text import PageWriter
from flambeau.serving.model import MetricUpdate

MODEL = (("ModelName", "m"), ("Level", "Model"))


def page_of(series: HandlerSeries) -> list[str]:
    page = PageWriter()
    series.write(page)
    return [line for line in page.page().decode().splitlines() if not line.startswith("#") and "_bucket" not in line]


def series_of(yaml: str | None = None, *, auto_detect: bool = True) -> HandlerSeries:
    declared = Declarations() if yaml is None else parse_metrics_yaml(yaml, source="y")[0]
    return HandlerSeries(declared.model, auto_detect=auto_detect, hostname="h")


def test_values_add_up_by_their_type() -> None:
    series = series_of()
    for value in (2.0, 3.0):
        series.take("m", MetricUpdate("Seen", "counter", "Count", MODEL, value))
        series.take("m", MetricUpdate("Size", "gauge", "Megabytes", (("Kind", "a"), *MODEL), value))
        series.take("m", MetricUpdate("Took", "histogram", "Milliseconds", MODEL, value))
    labels = 'ModelName="m",Level="Model",Hostname="h"'
    assert page_of(series) == [
        f"Seen{{{labels}}} 5.0",
        f'Size{{Kind="a",{labels}}} 3.0',
        f"Took_count{{{labels}}} 2.0",
        f"Took_sum{{{labels}}} 5.0",
    ]
    page = PageWriter()
    series.write(page)
    assert b"# HELP Seen Torchserve prometheus counter metric with unit: Count\n# TYPE Seen counter\n" in page.page()


@pytest.mark.parametrize(
    ("update", "line"),
    [
        (MetricUpdate("my metric-1", "gauge", "x", (), 1.0), 'my_metric_1{Hostname="h"} 1.0'),
        (MetricUpdate("1st", "gauge", "x", (("2nd key", "v"), ("__x", "w")), 1.0), '_1st{_2nd_key="v",x="w",Hostname="h"} 1.0'),
        (MetricUpdate("A", "gauge", "x", (("Hostname", "mine"),), 1.0), 'A{Hostname="mine"} 1.0'),
        (MetricUpdate("A", "gauge", "x", (("k", 'a"\n'),), 1.0), 'A{k="a\\"\\n",Hostname="h"} 1.0'),
        (MetricUpdate("Declared", "counter", "x", (("b", "1"), ("c", "2")), 1.0), 'Declared{First="1",Second="2",Hostname="h"} 1.0'),
        (MetricUpdate("Declared", "counter", "x", (("b", "1"),), 1.0), 'Declared{b="1",Hostname="h"} 1.0'),
    ],
)
def test_names_become_prometheus_names(update: MetricUpdate, line: str) -> None:
    series = series_of("model_metrics: {counter: [{name: Declared, unit: Count, dimensions: [First, Second]}]}")
    series.take("m", update)
    assert page_of(series) == [line]


@pytest.mark.parametrize(
    ("update", "reason"),
    [
        (MetricUpdate("Seen", "gauge", "Count", (), 1.0), "type"),
        (MetricUpdate("Seen", "counter", "Count", (), -1.0), "value"),
        (MetricUpdate("Seen", "counter", "Count", (), None), "value"),  # type: ignore[arg-type]  # as JSON has NaN
        (MetricUpdate("New", "gauge", "Count", (), None), "value"),  # type: ignore[arg-type]  # as JSON has NaN
        (MetricUpdate("Other", "timer", "Count", (), 1.0), "type"),
        (MetricUpdate("Requests2XX", "counter", "Count", (), 1.0), "type"),
        (MetricUpdate("flambeau_workers", "gauge", "Count", (), 1.0), "type"),
        (MetricUpdate("Took_count", "counter", "Count", (), 1.0), "type"),
    ],
)
def test_what_cannot_be_told_is_dropped_counted_and_said(update: MetricUpdate, reason: str, caplog: pytest.LogCaptureFixture) -> None:
    series = series_of()
    series.take("m", MetricUpdate("Seen", "counter", "Count", (), 1.0))
    series.take("m", MetricUpdate("Took", "histogram", "Count", (), 1.0))
    before = page_of(series)
    with caplog.at_level(logging.WARNING):
        assert series.take("m", update) is None
        assert series.take("m", update) is None
    assert page_of(series) == before
    assert series.dropped == {**dict.fromkeys(module.REASONS, 0), reason: 2}
    assert len(caplog.records) == 1


def test_undeclared_metrics_are_kept_only_where_they_are_wanted() -> None:
    update = MetricUpdate("Seen", "counter", "Count", (), 1.0)
    wary = series_of(auto_detect=False)
    assert wary.take("m", update) is None
    assert wary.dropped["undeclared"] == 1
    assert series_of().take("m", update) is not None


def test_the_servers_own_measure_of_the_handler_stands() -> None:
    series = series_of()
    assert series.take("m", MetricUpdate("HandlerTime", "gauge", "Milliseconds", MODEL, 1.0)) is None
    assert not any(series.dropped.values())


def test_series_are_bounded_and_go_with_their_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MODEL_SERIES_MAX", 2)
    monkeypatch.setattr(module, "SERIES_MAX", 3)
    series = series_of()
    for model in ("a", "b"):
        for number in range(3):
            series.take(model, MetricUpdate("Seen", "counter", "Count", (("ModelName", model), ("id", str(number))), 1.0))
    assert [line[: line.index(",H")] for line in page_of(series)] == [
        'Seen{ModelName="a",id="0"',
        'Seen{ModelName="a",id="1"',
        'Seen{ModelName="b",id="0"',
    ]
    assert series.dropped["series"] == 3
    series.forget({"a"})
    assert [line[: line.index(",id")] for line in page_of(series)] == ['Seen{ModelName="b"']
    assert series.models() == {"b"}
    series.take("b", MetricUpdate("Seen", "counter", "Count", (("ModelName", "b"), ("id", "9")), 1.0))
    assert len(page_of(series)) == 2
