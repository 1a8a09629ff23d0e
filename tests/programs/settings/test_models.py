from __future__ import annotations

import json

import pytest

from flambeau.foundation.errors import InvalidInput
from flambeau.programs.settings.models import (
    StartupModel,
    config_merger,
    models_from_list,
    models_from_snapshot,
    overrides_by_model,
    wish_merger,
)
from flambeau.programs.settings.sources import Value
from flambeau.serving.model import ModelConfig

ENTRY = {"defaultVersion": True, "marName": "mnist.mar", "minWorkers": 1, "maxWorkers": 5, "batchSize": 1, "maxBatchDelay": 10}


def snapshot(models: object, count: int = 1) -> Value:
    return Value("model_snapshot", json.dumps({"name": "startup.cfg", "modelCount": count, "models": models}), "c line 9")


def test_kserves_snapshot() -> None:
    models, warnings = models_from_snapshot(snapshot({"mnist": {"1.0": {**ENTRY, "responseTimeout": 120}}}))
    overrides = {"min_workers": 1, "max_workers": 5, "batch_size": 1, "max_batch_delay_ms": 10, "response_timeout_seconds": 120}
    assert models == [StartupModel("mnist.mar", "mnist", True, overrides)]
    assert warnings == []


def test_a_snapshot_with_gaps_is_read_and_told() -> None:
    models, warnings = models_from_snapshot(snapshot({"mnist": {"1.0": {"batchsize": 4}}}, count=3))
    assert models == [StartupModel("mnist.mar", "mnist", False, {})]
    assert warnings == [
        'model_snapshot: mnist 1.0: unknown key batchsize has no effect (did you mean "batchSize"?)',
        "model_snapshot: mnist 1.0: no marName; mnist.mar is taken",
        "model_snapshot: modelCount is 3, but 1 model versions are listed; all are loaded",
    ]


def test_a_snapshot_of_no_models_loads_nothing() -> None:
    assert models_from_snapshot(snapshot({"mnist": {"1.0": ENTRY}}, count=0)) == ([], [])


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ('{"models": {"m": {"1.0": {"minWorkers": 1 "maxWorkers": 2}}}}', r"not JSON: Expecting ',' delimiter at character 43, near '"),
        ("[1]", "not a JSON object"),
        ('{"models": []}', "must be an object of model names"),
        ('{"models": {"m": {}}}', "m must be an object of versions"),
        ('{"models": {"m": {"1.0": 3}}}', "m 1.0 must be an object"),
        ('{"models": {"m": {"1.0": {"marName": 3}}}}', "marName that is no file name"),
        ('{"models": {"m": {"1.0": {"minWorkers": "1"}}}}', "minWorkers: '1' is not a whole number"),
        ('{"models": {"m": {"1.0": {"batchSize": 0}}}}', "batchSize: 0 is below 1"),
        ('{"models": {"m": {"1.0": {"minWorkers": 3, "maxWorkers": 2}}}}', "maxWorkers: 2 is below minWorkers 3"),
    ],
)
def test_a_bad_snapshot_says_where(text: str, why: str) -> None:
    with pytest.raises(InvalidInput, match=why) as caught:
        models_from_snapshot(Value("model_snapshot", text, "c line 9"))
    assert "c line 9" in str(caught.value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        ("none", []),
        ("ALL", [StartupModel("a.mar"), StartupModel("b")]),
        ("a.mar, n=b.mar,", [StartupModel("a.mar"), StartupModel("b.mar", "n")]),
    ],
)
def test_load_models(text: str, expected: list[StartupModel]) -> None:
    assert models_from_list(Value("load_models", text, "default"), in_store=["a.mar", "b"]) == expected


DEFAULTS = ModelConfig(min_workers=2, max_workers=2, job_queue_size=10)


@pytest.mark.parametrize(
    ("models_json", "yaml", "from_snapshot", "expected"),
    [
        ({}, {}, None, {"min_workers": 2, "max_workers": 2, "batch_size": 1, "max_batch_delay_ms": 100}),
        ({"batchSize": 2}, {}, None, {"batch_size": 2}),
        ({"batchSize": 2}, {"batchSize": 3}, None, {"batch_size": 3}),
        ({"batchSize": 2}, {"batchSize": 3}, {"batch_size": 4}, {"batch_size": 4}),
        ({"responseTimeout": 5}, {"batchSize": 3}, None, {"response_timeout_seconds": 5}),
        ({"minWorkers": 1, "maxWorkers": 4}, {}, None, {"min_workers": 1, "max_workers": 4}),
        ({}, {"minWorkers": 3}, None, {"min_workers": 3, "max_workers": 3}),
        ({}, {"maxWorkers": 1}, None, {"min_workers": 1, "max_workers": 1}),
        ({}, {"maxWorkers": 6}, None, {"min_workers": 2, "max_workers": 6}),
        ({}, {"jobQueueSize": 3, "maxRetryTimeoutInSec": 9}, None, {"job_queue_size": 3, "max_retry_timeout_seconds": 9}),
        ({}, {"batchSize": True, "maxBatchDelay": "x", "minWorkers": 4, "maxWorkers": 1}, None, {"batch_size": 1, "min_workers": 2}),
    ],
)
def test_sources_of_a_models_config(
    models_json: dict[str, object], yaml: dict[str, object], from_snapshot: dict[str, int] | None, expected: dict[str, object]
) -> None:
    table, _ = overrides_by_model(Value("models", json.dumps({"m": {"1.0": models_json}}), "c line 1"))
    config, _ = config_merger(DEFAULTS, table, from_snapshot)("m", "1.0", yaml)
    assert {name: getattr(config, name) for name in expected} == expected


def test_another_versions_settings_do_not_count() -> None:
    config, _ = config_merger(DEFAULTS, {("m", "2.0"): {"batch_size": 7}}, None)("m", "1.0", {})
    assert config == DEFAULTS


def test_what_is_wrong_in_a_yaml_is_told() -> None:
    config, warnings = config_merger(DEFAULTS, {}, None)("m", "1.0", {"batchSize": "x", "useVenv": True, "handler": {"a": 1}})
    assert config.use_venv
    assert warnings == ["model-config.yaml: batchSize: 'x' is not a whole number"]


def test_values_out_of_range_in_the_models_json_are_skipped_and_told() -> None:
    table, warnings = overrides_by_model(Value("models", '{"m": {"1.0": {"batchSize": -1, "maxBatchDelay": 5}}}', "c line 1"))
    assert table == {("m", "1.0"): {"max_batch_delay_ms": 5}}
    assert warnings == ["models: m 1.0: batchSize: -1 is below 1; skipped"]


@pytest.mark.parametrize(
    ("weak", "strong", "models_json", "yaml", "expected"),
    [
        ({}, {}, {}, {}, {"min_workers": 0, "max_workers": 0, "batch_size": 1, "response_timeout_seconds": 120.0}),
        ({"min_workers": 2, "max_workers": 2}, {}, {}, {}, {"min_workers": 2, "max_workers": 2}),
        ({"min_workers": 2, "max_workers": 2}, {}, {"minWorkers": 5}, {}, {"min_workers": 2, "max_workers": 2}),
        ({"min_workers": 2, "max_workers": 2}, {}, {}, {"minWorkers": 1, "maxWorkers": 4}, {"min_workers": 1, "max_workers": 4}),
        ({}, {"batch_size": 8}, {"batchSize": 2}, {"batchSize": 3}, {"batch_size": 8}),
        ({}, {}, {"batchSize": 2}, {"batchSize": 3}, {"batch_size": 3}),
        ({"response_timeout_seconds": 7}, {}, {}, {}, {"response_timeout_seconds": 7}),
        ({"response_timeout_seconds": 7}, {}, {"responseTimeout": 8}, {}, {"response_timeout_seconds": 8}),
        ({"response_timeout_seconds": 7}, {}, {"responseTimeout": 8}, {"responseTimeout": 9}, {"response_timeout_seconds": 9}),
        ({"response_timeout_seconds": 7}, {}, {}, {"batchSize": 3}, {"response_timeout_seconds": 7}),
    ],
)
def test_sources_of_a_registered_models_config(
    weak: dict[str, int],
    strong: dict[str, int],
    models_json: dict[str, object],
    yaml: dict[str, object],
    expected: dict[str, object],
) -> None:
    table, _ = overrides_by_model(Value("models", json.dumps({"m": {"1.0": models_json}}), "c line 1"))
    defaults = ModelConfig(min_workers=0, max_workers=0)
    config, warnings = wish_merger(defaults, table, weak=weak, strong=strong)("m", "1.0", yaml)
    assert {name: getattr(config, name) for name in expected} == expected
    overruled = [name for name, value in weak.items() if getattr(config, name) != value]
    assert [warning.split()[2] for warning in warnings] == overruled
