"""``--reload``: watch the files of the models that were loaded at the start, and load a model anew when its own change.

The new one takes over when it can answer. An edit that breaks it changes nothing: the old one goes on, and the log says why.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from watchfiles import Change, awatch

from flambeau.foundation.errors import FlambeauError
from flambeau.serving.archive.plain import WEIGHTS, manifest_of_folder
from flambeau.serving.repository import Registration, Repository

_log = logging.getLogger(__name__)

SETTLE_MILLISECONDS = 300
"""Changes that follow one another within it count as one: editors write a file in several steps."""
ENDINGS = (".py", ".json", ".yaml", ".yml", ".txt", ".mar", ".gz", ".tgz", ".safetensors", *WEIGHTS)
"""Other files, such as logs that a handler writes into its folder, do not count."""
OLD_SECONDS_MAX = 120.0
"""What the old workers may still take for what they had accepted."""


class Reloader:
    """Keep models as their files are.

    Args:
        repository: where they are registered.
        registrations: those whose archives or folders are watched.
    """

    def __init__(self, repository: Repository, registrations: Iterable[Registration]) -> None:
        self._repository = repository
        self._registrations = list(registrations)

    async def run(self) -> None:
        """Watch until cancelled."""
        folders = {each.archive if each.archive.is_dir() else each.archive.parent for each in self._registrations}
        if not folders:
            _log.warning("--reload has no effect: no model is loaded at the start")
            return
        logging.getLogger("watchfiles").setLevel(logging.WARNING)  # it would tell of every change, and we tell of those that count
        async for changes in awatch(*folders, debounce=SETTLE_MILLISECONDS, watch_filter=_counts):
            changed = sorted({Path(path) for _, path in changes})
            for index, registration in enumerate(self._registrations):
                own = [path for path in changed if path.is_relative_to(registration.archive)]
                if own:
                    self._registrations[index] = await self._reload(registration, own)

    async def _reload(self, registration: Registration, changed: list[Path]) -> Registration:
        """Load a model anew; return what is registered now."""
        what = changed[0].name if len(changed) == 1 else f"{changed[0].name} and {len(changed) - 1} more"
        try:
            manifest = manifest_of_folder(registration.archive) if registration.manifest is not None else None
            fresh = replace(registration, manifest=manifest)
            model = await self._repository.replace(registration, fresh, OLD_SECONDS_MAX)
        except FlambeauError as error:
            _log.error("%s changed, but the old model goes on serving: %s", what, error)
            return registration
        _log.info("%s changed: model %s %s serves it now", what, model.name, model.version)
        return fresh


def _counts(_: Change, path: str) -> bool:
    return path.endswith(ENDINGS) and not any(part.startswith(".") or part == "__pycache__" for part in Path(path).parts[-2:])
