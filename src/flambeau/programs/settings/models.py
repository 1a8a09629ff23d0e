"""Which models are loaded at the start, and how each is run: model_snapshot, load_models, models and model-config.yaml. Pure.

Strongest first: model_snapshot > model-config.yaml > ``models`` JSON > the server's defaults. (TorchServe lets a YAML without timeouts
reset them to 120 s; here a key counts only where it is written.)
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from flambeau.foundation.errors import InvalidInput
from flambeau.programs.settings.keys import likely_meant
from flambeau.programs.settings.model_yaml import INTEGERS, fields_of, integer_fields
from flambeau.programs.settings.sources import Value
from flambeau.serving.archive.manifest import Manifest
from flambeau.serving.model import ModelConfig

Overrides = Mapping[str, int]
"""Fields of ModelConfig that ``models`` JSON or a snapshot sets."""

_SNAPSHOT_KEYS = frozenset({"defaultVersion", "marName", "runtimeType", "parallelLevel", *INTEGERS})

DEBUG_SECONDS = 604_800.0
"""With ``debug``, of a load and of a batch: a week is longer than anybody sits in a debugger, and a number that every timer takes."""


@dataclass(frozen=True, slots=True)
class StartupModel:
    """One model that is loaded when the server starts."""

    archive: str
    """File or directory name in the model store, or a path."""
    name: str | None = None
    """Overrides the manifest's."""
    is_default: bool = False
    """Whether unversioned requests go to this version."""
    overrides: Overrides | None = None
    """What model_snapshot says; the strongest source."""
    manifest: Manifest | None = None
    """In place of the archive's, for a plain folder."""


def models_from_snapshot(value: Value) -> tuple[list[StartupModel], list[str]]:
    """Return the models of a model_snapshot, and warnings.

    Raises:
        InvalidInput: it isn't JSON of that form; the text says where.
    """
    snapshot = _json_object(value)
    warnings = []
    models = []
    count = snapshot.get("modelCount")
    if isinstance(count, int) and count <= 0:
        return [], []
    for name, version, entry in _per_version(snapshot.get("models"), value, "models"):
        where = f"model_snapshot: {name} {version}"
        for key in entry:
            if key not in _SNAPSHOT_KEYS:
                warnings.append(f"{where}: unknown key {key} has no effect{likely_meant(key, _SNAPSHOT_KEYS)}")
        archive = entry.get("marName")
        if archive is None:
            archive = f"{name}.mar"
            warnings.append(f"{where}: no marName; {archive} is taken")
        elif not isinstance(archive, str) or not archive:
            raise value.refused(f"gives {name} {version} a marName that is no file name")
        overrides, refused = integer_fields(entry)
        if refused:
            raise value.refused(f"gives {name} {version} {refused[0]}")
        models.append(StartupModel(archive, name, bool(entry.get("defaultVersion", False)), overrides))
    if isinstance(count, int) and count != len(models):
        warnings.append(f"model_snapshot: modelCount is {count}, but {len(models)} model versions are listed; all are loaded")
    return models, warnings


def models_from_list(value: Value, *, in_store: list[str]) -> list[StartupModel]:
    """Return the models of load_models: ``all``, or a comma list of ``archive`` and ``name=archive``.

    Args:
        value: the setting; empty and ``none`` load nothing.
        in_store: what the model store holds, for ``all``.
    """
    text = value.text.strip()
    if text.lower() in ("", "none"):
        return []
    if text.lower() == "all":
        return [StartupModel(archive) for archive in in_store]
    models = []
    for item in filter(None, (part.strip() for part in text.split(","))):
        name, has_name, archive = item.partition("=")
        models.append(StartupModel(archive.strip(), name.strip()) if has_name else StartupModel(item))
    return models


def overrides_by_model(value: Value) -> tuple[dict[tuple[str, str], Overrides], list[str]]:
    """Return what the ``models`` JSON sets per (name, version), and warnings; values out of range are skipped, as in TorchServe.

    Raises:
        InvalidInput: it isn't JSON of that form.
    """
    if not value.text.strip():
        return {}, []
    table: dict[tuple[str, str], Overrides] = {}
    warnings: list[str] = []
    for name, version, entry in _per_version(_json_object(value), value, "it"):
        table[name, version], refused = integer_fields(entry)
        warnings.extend(f"models: {name} {version}: {why}; skipped" for why in refused)
    return table, warnings


def config_merger(
    defaults: ModelConfig, by_model: Mapping[tuple[str, str], Overrides], snapshot: Overrides | None
) -> Callable[[str, str, Mapping[str, object]], tuple[ModelConfig, list[str]]]:
    """Return the function that makes one model's config once its name, version and model-config.yaml are known."""

    def configure(name: str, version: str, yaml: Mapping[str, object]) -> tuple[ModelConfig, list[str]]:
        from_yaml, refused = fields_of(yaml)
        layers = (by_model.get((name, version), {}), from_yaml, snapshot or {})
        return _merged(defaults, *layers), [f"model-config.yaml: {why}" for why in refused]

    return configure


def wish_merger(
    defaults: ModelConfig, by_model: Mapping[tuple[str, str], Overrides], *, weak: Overrides, strong: Overrides
) -> Callable[[str, str, Mapping[str, object]], tuple[ModelConfig, list[str]]]:
    """Return ``config_merger``'s function for a model that was registered over the API.

    Args:
        defaults: the server's, with the number of workers of such a model.
        by_model: the ``models`` JSON; its numbers of workers count for models of the start only.
        weak: what the request asked for and every other source overrules: workers and timeouts.
        strong: what the request asked for and nothing overrules: the batch's size and delay.
    """

    def configure(name: str, version: str, yaml: Mapping[str, object]) -> tuple[ModelConfig, list[str]]:
        from_yaml, refused = fields_of(yaml)
        from_json = {key: value for key, value in by_model.get((name, version), {}).items() if not key.endswith("_workers")}
        warnings = [f"model-config.yaml: {why}" for why in refused]
        for field_name, value in weak.items():
            found = from_yaml.get(field_name, from_json.get(field_name, value))
            if found != value:
                warnings.append(f"the request's {field_name} {value} has no effect: the model's own configuration says {found}")
        return _merged(defaults, weak, from_json, from_yaml, strong), warnings

    return configure


def _merged(defaults: ModelConfig, *weakest_first: Mapping[str, object]) -> ModelConfig:
    fields: dict[str, Any] = {name: getattr(defaults, name) for name in defaults.__dataclass_fields__}
    for layer in weakest_first:
        fields.update(layer)
    fields["min_workers"] = min(fields["min_workers"], fields["max_workers"])
    if fields["debug"]:
        fields.update(response_timeout_seconds=DEBUG_SECONDS, startup_timeout_seconds=DEBUG_SECONDS)
    return ModelConfig(**fields)


def _json_object(value: Value) -> dict[str, Any]:
    try:
        parsed = json.loads(value.text)
    except json.JSONDecodeError as error:
        near = value.text[max(0, error.pos - 20) : error.pos + 20]
        raise InvalidInput(
            f"cannot use {value.key} ({value.source}): it is not JSON: {error.msg} at character {error.pos + 1}, near '{near}'",
            hint="a value that goes over several lines needs a \\ at the end of each line but the last",
            reason="InvalidConfiguration",
        ) from error
    if not isinstance(parsed, dict):
        raise value.refused("is not a JSON object")
    return parsed


def _per_version(table: object, value: Value, what: str) -> list[tuple[str, str, dict[str, Any]]]:
    """Return (name, version, entry) of ``{name: {version: {...}}}``."""
    found = []
    if not isinstance(table, dict):
        raise InvalidInput(
            f"cannot use {value.key} ({value.source}): {what} must be an object of model names", reason="InvalidConfiguration"
        )
    for name, versions in table.items():
        if not isinstance(versions, dict) or not versions:
            raise InvalidInput(
                f"cannot use {value.key} ({value.source}): {name} must be an object of versions",
                hint='write {"' + str(name) + '": {"1.0": {...}}}',
                reason="InvalidConfiguration",
            )
        for version, entry in versions.items():
            if not isinstance(entry, dict):
                raise InvalidInput(
                    f"cannot use {value.key} ({value.source}): {name} {version} must be an object", reason="InvalidConfiguration"
                )
            found.append((str(name), str(version), entry))
    return found
