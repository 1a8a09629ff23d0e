"""``--reload``: watch the files of the models that were loaded at the start, and load a model anew when its own change.

The new one takes over when it can answer. An edit that breaks it changes nothing: the old one goes on, and the log says why. Where a whole
store is served, what is put into it is loaded and what is taken out of it is removed.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from contextlib import aclosing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from flambeau.foundation.errors import FlambeauError
from flambeau.programs.settings.server import archives_in
from flambeau.serving.archive.plain import WEIGHTS, manifest_of_folder
from flambeau.serving.repository import Registration, Repository

if TYPE_CHECKING:
    from watchfiles import Change

_log = logging.getLogger(__name__)

SETTLE_MILLISECONDS = 300
"""Changes that follow one another within it count as one: editors write a file in several steps."""
ENDINGS = (".py", ".json", ".yaml", ".yml", ".txt", ".mar", ".gz", ".tgz", ".safetensors", *WEIGHTS)
"""Other files, such as logs that a handler writes into its folder, do not count."""
LOOK_MILLISECONDS = 1_000
"""Between two looks whether the watched folders are there: one that was moved away and made anew is another one, which nobody would see."""
OLD_SECONDS_MAX = 120.0
"""What the old workers may still take for what they had accepted."""


@dataclass(frozen=True, slots=True)
class WholeStore:
    """A model store, all of which is served."""

    path: Path
    registration_of: Callable[[str], Registration]
    """Takes the name of an archive that was put into it."""


class Reloader:
    """Keep models as their files are.

    Args:
        repository: where they are registered.
        registrations: those whose archives or folders are watched.
        store: where models come and go; None: no more come.
    """

    def __init__(self, repository: Repository, registrations: Iterable[Registration], store: WholeStore | None = None) -> None:
        self._repository = repository
        self._registrations = list(registrations)
        self._store = store

    async def run(self) -> None:
        """Watch until cancelled; what goes wrong is told, and watching goes on."""
        folders = {each.archive if each.archive.is_dir() else each.archive.parent for each in self._registrations}
        if self._store is not None:
            folders.add(self._store.path)
        if not folders:
            _log.warning("--reload has no effect: no model is loaded at the start")
            return
        logging.getLogger("watchfiles").setLevel(logging.WARNING)  # it would tell of every change, and we tell of those that count
        told, missed = "", False
        while True:
            try:
                await self._watch(folders, missed=missed)
                told = ""
            except Exception as error:  # a folder that has gone, or what the system refuses, such as too many watches
                if str(error) != told:
                    told = str(error)
                    _log.error("cannot watch for changes: %s; trying again until it can be done, the models go on serving", error)
            missed = True
            await asyncio.sleep(LOOK_MILLISECONDS / 1000)

    async def _watch(self, folders: set[Path], *, missed: bool) -> None:
        """Act on changes until a folder has gone or is another one.

        Args:
            folders: what is watched, with what lies below.
            missed: whether there may have been changes that nobody saw.
        """
        from watchfiles import awatch  # noqa: PLC0415 - 10 ms of every start that only --reload needs

        watched = _identities(folders)
        changes = awatch(
            *folders, debounce=SETTLE_MILLISECONDS, watch_filter=self._counts, rust_timeout=LOOK_MILLISECONDS, yield_on_timeout=True
        )
        async with aclosing(changes):
            async for found in changes:
                changed = sorted({Path(path) for _, path in found})
                if missed:
                    changed, missed = [each.archive for each in self._registrations], False
                if changed:
                    await self._take(changed)
                if _identities(folders) != watched:
                    return

    async def _take(self, changed: list[Path]) -> None:
        """Do what changes ask for; one that fails keeps no other from being done."""
        known = {each.archive for each in self._registrations}
        if self._store is not None:
            try:
                await self._follow(self._store)
            except Exception as error:
                _log.error("cannot follow the model store %s: %s", self._store.path, error, exc_info=_unforeseen(error))
        for index, registration in enumerate(self._registrations):
            own = [path for path in changed if path.is_relative_to(registration.archive)]
            if own and registration.archive in known:
                self._registrations[index] = await self._reload(registration, own)

    async def _follow(self, store: WholeStore) -> None:
        """Remove the models whose archives have gone, and load those that have come."""
        there = {store.path / name for name in archives_in(store.path)}
        for gone in [each for each in self._registrations if each.archive.parent == store.path and each.archive not in there]:
            self._registrations.remove(gone)
            await self._repository.withdraw(gone, OLD_SECONDS_MAX)
            _log.info("%s has gone, and its model with it", gone.archive.name)
        for path in sorted(there - {each.archive for each in self._registrations}):
            _log.info("%s has come: loading it", path.name)
            registration = store.registration_of(path.name)
            self._registrations.append(registration)
            self._repository.register(registration)

    async def _reload(self, registration: Registration, changed: list[Path]) -> Registration:
        """Load a model anew; return what is registered now."""
        what = changed[0].name if len(changed) == 1 else f"{changed[0].name} and {len(changed) - 1} more"
        try:
            manifest = manifest_of_folder(registration.archive) if registration.manifest is not None else None
            fresh = replace(registration, manifest=manifest)
            model = await self._repository.replace(registration, fresh, OLD_SECONDS_MAX)
        except Exception as error:
            _log.error("%s changed, but the old model goes on serving: %s", what, error, exc_info=_unforeseen(error))
            return registration
        _log.info("%s changed: model %s %s serves it now", what, model.name, model.version)
        return fresh

    def _counts(self, _: Change, path: str) -> bool:
        parts = Path(path).parts[-2:]
        # Of a folder that is moved only its own path is told.
        is_in_store = self._store is not None and Path(path).parent == self._store.path
        return (is_in_store or path.endswith(ENDINGS)) and not any(part.startswith(".") or part == "__pycache__" for part in parts)


def _identities(folders: Iterable[Path]) -> dict[Path, tuple[int, int]]:
    """Return what tells a folder from another one of its name.

    Raises:
        OSError: one is not there.
    """
    found = {folder: folder.stat() for folder in folders}
    return {folder: (status.st_dev, status.st_ino) for folder, status in found.items()}


def _unforeseen(error: Exception) -> Exception | None:
    """Return an error whose place in the code must be told, too: those of ours and the system's say enough."""
    return None if isinstance(error, FlambeauError | OSError) else error
