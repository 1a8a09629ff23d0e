"""Where metrics go and which there are: metrics_mode, metrics_config and their like."""

from __future__ import annotations

from pathlib import Path

from flambeau.foundation.errors import InvalidInput, NotFound
from flambeau.programs.settings.mounts import Mounts
from flambeau.programs.settings.sources import Value, Values
from flambeau.serving.metrics.declared import Declarations, MetricsSettings, Mode, parse_metrics_yaml

YAML_BYTES_MAX = 1_048_576
"""A metrics.yaml above this is refused unread."""
_SHIPPED = ("ts", "configs", "metrics.yaml")
"""The end of the path of TorchServe's own file, which declares what is built in here."""


def metrics_settings(values: Values, mounts: Mounts, directory: Path) -> tuple[MetricsSettings, list[str]]:
    """Return the settings of metrics, and what is odd about them.

    Raises:
        InvalidInput: metrics_config cannot be used.
        NotFound: it isn't there.
    """
    mode, notes = _mode(values)
    declared, declared_notes = _declared(values["metrics_config"], mounts, directory)
    settings = MetricsSettings(
        mode=mode,
        declared=declared,
        auto_detect=values["model_metrics_auto_detect"].boolean(),
        measures_host=not values["disable_system_metrics"].boolean(),
        interval_seconds=values["metric_time_interval"].integer(least=1),
    )
    return settings, [*notes, *declared_notes]


def _mode(values: Values) -> tuple[Mode, list[str]]:
    """Return metrics_mode, or where it isn't given metrics_format, its older name."""
    value = values["metrics_mode"]
    if value.source == "default":
        value = values["metrics_format"]
    try:
        return Mode(value.text.strip().lower()), []
    except ValueError:
        known = ", ".join(Mode)
        return Mode.PROMETHEUS, [f'{value.key} ({value.source}): "{value.text}" is none of {known}; {Mode.PROMETHEUS} is used']


def _declared(value: Value, mounts: Mounts, directory: Path) -> tuple[Declarations, list[str]]:
    name = value.text.strip()
    if not name:
        return Declarations(), []
    path = directory / mounts.real(name)
    if not path.is_file():
        if Path(name).parts[-3:] == _SHIPPED:
            return Declarations(), []
        raise NotFound(
            f"metrics_config not found: {name} ({value.source})",
            hint="leave the key out to have every metric of docs/metrics.md",
            reason="ConfigNotFound",
        )
    try:
        if path.stat().st_size > YAML_BYTES_MAX:
            raise value.refused(f"is over {YAML_BYTES_MAX} bytes")
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput(f"cannot read metrics_config {name}: {error}", reason="InvalidConfiguration") from error
    return parse_metrics_yaml(text, source=name)
