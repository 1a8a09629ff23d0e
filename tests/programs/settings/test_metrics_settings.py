from __future__ import annotations

from pathlib import Path

import pytest

from flambeau.foundation.errors import InvalidInput, NotFound
from flambeau.programs.settings.metrics import YAML_BYTES_MAX, metrics_settings
from flambeau.programs.settings.mounts import Mounts
from flambeau.programs.settings.properties import parse_properties
from flambeau.programs.settings.sources import effective_values
from flambeau.serving.metrics.declared import MetricsSettings, Mode


def settings_of(text: str, directory: Path) -> tuple[MetricsSettings, list[str]]:
    file = parse_properties(text, {}, file="config.properties")
    values = effective_values(flags={}, environment={}, file=file, file_name="config.properties")
    return metrics_settings(values, Mounts(), directory)


@pytest.mark.parametrize(
    ("text", "mode"),
    [
        ("", Mode.PROMETHEUS),
        ("metrics_mode=log", Mode.LOG),
        ("metrics_mode=Legacy ", Mode.LEGACY),
        ("metrics_format=log", Mode.LOG),
        ("metrics_format=prometheus", Mode.PROMETHEUS),
        ("metrics_format=log\nmetrics_mode=prometheus", Mode.PROMETHEUS),
    ],
)
def test_the_mode_and_its_older_name(tmp_path: Path, text: str, mode: Mode) -> None:
    settings, notes = settings_of(text, tmp_path)
    assert (settings.mode, notes) == (mode, [])


def test_a_mode_that_is_none_is_said(tmp_path: Path) -> None:
    settings, notes = settings_of("metrics_mode=statsd", tmp_path)
    assert settings.mode is Mode.PROMETHEUS
    assert notes == ['metrics_mode (config.properties line 1): "statsd" is none of prometheus, log, legacy; prometheus is used']


def test_the_other_keys(tmp_path: Path) -> None:
    assert settings_of("", tmp_path)[0] == MetricsSettings()
    settings, _ = settings_of("model_metrics_auto_detect=false\ndisable_system_metrics=true\nmetric_time_interval=5", tmp_path)
    assert (settings.auto_detect, settings.measures_host, settings.interval_seconds) == (False, False, 5)


def test_metrics_config(tmp_path: Path) -> None:
    (tmp_path / "m.yaml").write_text("ts_metrics: {gauge: [{name: QueueTime, unit: Milliseconds, dimensions: [Level, Hostname]}]}")
    settings, _ = settings_of("metrics_config=m.yaml", tmp_path)
    assert list(settings.declared.server) == ["QueueTime"]


def test_the_file_that_torchserve_ships_stands_for_what_is_built_in(tmp_path: Path) -> None:
    settings, notes = settings_of("metrics_config=/home/venv/lib/python3.9/site-packages/ts/configs/metrics.yaml", tmp_path)
    assert (settings, notes) == (MetricsSettings(), [])


def test_a_metrics_config_that_cannot_be_used(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"metrics_config not found: gone\.yaml \(config.properties line 1\)"):
        settings_of("metrics_config=gone.yaml", tmp_path)
    (tmp_path / "large.yaml").write_bytes(b" " * (YAML_BYTES_MAX + 1))
    with pytest.raises(InvalidInput, match="is over 1048576 bytes"):
        settings_of("metrics_config=large.yaml", tmp_path)
    (tmp_path / "latin.yaml").write_bytes(b"\xe4")
    with pytest.raises(InvalidInput, match=r"cannot read metrics_config latin\.yaml"):
        settings_of("metrics_config=latin.yaml", tmp_path)
