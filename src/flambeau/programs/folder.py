"""``flambeau serve DIR``: what a folder adds to the other settings. It is one model, packed or plain, or a store of models."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from flambeau.foundation.errors import InvalidInput, NotFound
from flambeau.programs.settings.models import StartupModel
from flambeau.programs.settings.server import Flags, ServerSettings, archives_in
from flambeau.serving.archive.plain import is_model_folder, manifest_of_folder, summary_of


def with_folder(flags: Flags) -> Flags:
    """Return the flags that serve the folder: as the model store, with all its models unless some are named.

    Snapshots are neither saved nor restored for a single model: it is no archive that a later start could find.

    Raises:
        NotFound: there is no such folder.
        InvalidInput: it holds neither a model nor archives.
    """
    folder = flags.folder
    if folder is None:
        return flags
    if not folder.is_dir():
        raise NotFound(f"cannot serve {folder}: there is no such folder", reason="ModelStoreNotFound")
    if is_model_folder(folder):
        return replace(flags, model_store=flags.model_store or str(folder), no_config_snapshots=True)
    if not archives_in(folder):
        raise InvalidInput(
            f"cannot serve {folder}: it holds neither a handler nor archives",
            hint="a model's folder has a handler.py, a model store has .mar files",
            reason="InvalidConfiguration",
        )
    return replace(flags, model_store=str(folder), models=flags.models or ("all",))


def with_folders_model(settings: ServerSettings, folder: Path | None) -> ServerSettings:
    """Return settings that load the folder's model too, if it is one; says in a line as what.

    Raises:
        InvalidInput: its handler cannot be told.
    """
    if folder is None or not is_model_folder(folder):
        return settings
    manifest = manifest_of_folder(folder)
    print(f"serving {folder} as {summary_of(manifest)}", flush=True)
    model = StartupModel(folder.name, manifest.model_name, manifest=manifest)
    defaults = settings.models.defaults
    if settings.values["default_workers_per_model"].source == "default":
        defaults = replace(defaults, min_workers=1, max_workers=1)  # somebody works on it: one is started anew sooner than a machine full
    return replace(settings, models=replace(settings.models, startup=((model, folder), *settings.models.startup), defaults=defaults))
