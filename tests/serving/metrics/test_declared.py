from __future__ import annotations

import pytest

from flambeau.foundation.errors import InvalidInput
from flambeau.serving.metrics.catalog import MODEL, SERVER, TORCHSERVE_BUCKETS, Kind
from flambeau.serving.metrics.declared import Declarations, parse_metrics_yaml
from flambeau.serving.model import MetricDeclaration

GOOD = """\
dimensions:
  - &model_name "ModelName"
  - &level "Level"
ts_metrics:
  counter:
    - {name: Requests2XX, unit: Count, dimensions: [*level, Host]}
    - {name: NeverSeen, unit: Count, dimensions: []}
  gauge:
    - {name: Requests4XX, unit: Count, dimensions: [*level, Hostname]}
model_metrics:
  counter:
    - {name: Seen, unit: Count, dimensions: [*model_name, *level]}
  gauge:
  histogram:
    - {name: Took, unit: ms, dimensions: [Kind, *model_name, *level]}
    - {name: Long, unit: s, buckets: [1, 10.5]}
"""


def test_a_metrics_yaml() -> None:
    declared, notes = parse_metrics_yaml(GOOD, source="metrics.yaml")
    assert declared.server["Requests2XX"].labels == ("Level", "Host")
    assert declared.server["Requests4XX"].kind is Kind.COUNTER
    assert set(declared.server) == {"Requests2XX", "Requests4XX"}
    assert declared.model["Seen"].labels == ("ModelName", "Level", "Hostname")
    assert declared.model["Took"].buckets == TORCHSERVE_BUCKETS
    assert declared.model["Long"].buckets == (1.0, 10.5)
    assert ["NeverSeen" in notes[0], "Requests4XX" in notes[1], len(notes)] == [True, True, 2]
    assert declared.for_workers()[1] == MetricDeclaration("Took", "histogram", "ms", ("Kind", "ModelName", "Level"))


def test_without_a_file_everything_is_on() -> None:
    declared = Declarations()
    assert list(declared.server.values()) == list(SERVER)
    assert list(declared.model.values()) == list(MODEL)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("a: [", "it is not YAML"),
        ("- 1", "it must hold ts_metrics and model_metrics"),
        ("model_metrics: 3", "it must hold ts_metrics and model_metrics"),
        ("ts_metrics: 3", "ts_metrics must hold counter, gauge and histogram"),
        ("ts_metrics: {timer: []}", "holds timer"),
        ("ts_metrics: {gauge: 1}", "ts_metrics.gauge must be a list"),
        ("model_metrics: {gauge: [x]}", "model_metrics.gauge[0] must have name, unit and dimensions"),
        ("model_metrics: {gauge: [{name: a b, unit: s}]}", "'a b' is no metric name"),
        ("model_metrics: {gauge: [{name: a}]}", "(a) has no unit"),
        ("model_metrics: {gauge: [{name: a, unit: s, dimensions: x}]}", "dimensions must be a list"),
        ("model_metrics: {gauge: [{name: a, unit: s, dimensions: [x-y]}]}", "'x-y' is no dimension name"),
        ("model_metrics: {gauge: [{name: a, unit: s, dimensions: [x, x]}]}", "names a dimension twice"),
        ("model_metrics: {gauge: [{name: flambeau_workers, unit: s}]}", "the name of one of the server's metrics"),
        ("model_metrics: {histogram: [{name: a, unit: s, buckets: []}]}", "buckets must be a list"),
        ("model_metrics: {histogram: [{name: a, unit: s, buckets: [2, 1]}]}", "buckets must rise"),
    ],
)
def test_what_is_refused(text: str, why: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        parse_metrics_yaml(text, source="metrics.yaml")
    assert "cannot use metrics_config metrics.yaml" in str(refused.value)
    assert why in str(refused.value)
