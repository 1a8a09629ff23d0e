"""The text of a configuration snapshot, and which one a start restores.

TorchServe's names and form. What came from the command line or the environment is not written: whoever starts the server says it again, and
a switch given once (``--disable-token-auth``) does not stick. Pure but for the listing of a folder.
"""

from __future__ import annotations

import datetime
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import javaproperties

from flambeau.programs.settings.sources import Values
from flambeau.serving.model import ModelConfig

LOGS_VARIABLE = "LOG_LOCATION"
_NAME = re.compile(r"\d{17}-(?:startup|snapshot|shutdown)\.cfg")
_ALWAYS_WRITTEN = frozenset({"model_store", "workflow_store"})
"""Wherever they came from: without them the models cannot be found again."""
_NEVER_WRITTEN = frozenset({"load_models", "model_snapshot"})
"""The snapshot of what is loaded now takes their place."""


@dataclass(frozen=True, slots=True)
class ServedModel:
    """One model version as a snapshot has it."""

    name: str
    version: str
    archive: str
    """Below the model store."""
    is_default: bool
    workers_min: int
    workers_max: int
    config: ModelConfig
    runtime: str = "python"


def snapshot_directory(environment: Mapping[str, str], directory: Path) -> Path:
    """Return where snapshots are."""
    return directory / (environment.get(LOGS_VARIABLE) or "logs") / "config"


def snapshots_in(directory: Path) -> list[Path]:
    """Return a folder's snapshots, the oldest first; files of other names are passed over."""
    return sorted(path for path in directory.glob("*.cfg") if _NAME.fullmatch(path.name))


def snapshot_to_restore(directory: Path, config_file: Path) -> Path | None:
    """Return the newest snapshot; None where there is none, or the config file was changed after it."""
    found = snapshots_in(directory)
    if not found or (config_file.is_file() and config_file.stat().st_mtime > found[-1].stat().st_mtime):
        return None
    return found[-1]


def snapshot_name(kind: str, now: float) -> str:
    """Return a file name: when, in local time, and why."""
    moment = datetime.datetime.fromtimestamp(now)
    return f"{moment:%Y%m%d%H%M%S}{moment.microsecond // 1000:03d}-{kind}.cfg"


def snapshot_text(name: str, values: Values, models: Iterable[ServedModel], *, now: float) -> str:
    """Return a snapshot's content.

    Args:
        name: its file name.
        values: what the server was told.
        models: what it serves.
        now: seconds since the epoch.
    """
    written = {key: value.text for key, value in values.by_key.items() if value.is_from_file or key in _ALWAYS_WRITTEN}
    lines = {key: text for key, text in written.items() if text and key not in _NEVER_WRITTEN}
    by_name: dict[str, dict[str, object]] = {}
    count = 0
    for model in models:
        by_name.setdefault(model.name, {})[model.version] = _entry(model)
        count += 1
    lines["model_snapshot"] = json.dumps({"name": name, "modelCount": count, "created": int(now * 1000), "models": by_name})
    return str(javaproperties.dumps(lines, timestamp=None))


def _entry(model: ServedModel) -> dict[str, object]:
    entry: dict[str, object] = {
        "defaultVersion": model.is_default,
        "marName": model.archive,
        "minWorkers": model.workers_min,
        "maxWorkers": model.workers_max,
        "batchSize": model.config.batch_size,
        "maxBatchDelay": model.config.max_batch_delay_ms,
        "responseTimeout": int(model.config.response_timeout_seconds),
        "startupTimeout": int(model.config.startup_timeout_seconds),
        "runtimeType": model.runtime,
    }
    if model.config.parallelism is not None:
        entry["parallelLevel"] = model.config.parallelism.processes
    return entry
