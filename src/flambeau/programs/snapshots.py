"""Write configuration snapshots: after the start, after each change, at the end; the newest few are kept."""

from __future__ import annotations

import asyncio
import logging
import time
from pathlib import Path

from flambeau.foundation.files import write_atomically
from flambeau.programs.settings.snapshot import ServedModel, snapshot_name, snapshot_text, snapshots_in
from flambeau.programs.settings.sources import Values
from flambeau.serving.repository import Origin, Repository

_log = logging.getLogger(__name__)

SNAPSHOTS_KEPT_MAX = 10
"""Older ones are removed; TorchServe keeps every one."""


class Snapshots:
    """Keep a folder of snapshots of one server.

    Args:
        directory: where; made when the first is written. None: none is written.
        values: what the server was told.
        store: the model store.
        repository: what it serves.
    """

    def __init__(self, directory: Path | None, values: Values, store: Path, repository: Repository) -> None:
        self._directory = directory
        self._values = values
        self._store = store
        self._repository = repository
        self._writing = asyncio.Lock()
        self._newest = ""

    async def save(self, kind: str) -> None:
        """Write a snapshot; a disk that refuses is told once and stops nothing.

        Args:
            kind: ``startup``, ``snapshot`` or ``shutdown``.
        """
        # A snapshot of a start that is not over, or that failed, would forget models.
        if self._directory is None or not all(standing.is_read for standing in self._repository.standings()):
            return
        async with self._writing:
            now = time.time()
            # Changes within a millisecond: the later name must sort later.
            self._newest = name = max(snapshot_name(kind, now), _after(self._newest, kind))
            text = snapshot_text(name, self._values, self._served(), now=now)
            try:
                await asyncio.to_thread(_write, self._directory / name, text)
            except OSError as error:
                _log.warning("no more snapshots: cannot write %s: %s", self._directory, error.strerror)
                self._directory = None

    def _served(self) -> list[ServedModel]:
        found = []
        for model in self._repository.models():
            if model.origin is Origin.WORKFLOW:
                continue  # as in TorchServe: a workflow is not restored, and its nodes mean nothing without it
            spec = model.spec
            found.append(
                ServedModel(
                    name=model.name,
                    version=model.version,
                    archive=self._archive_name(spec.url),
                    is_default=self._repository.find(model.name, None) is model,
                    workers_min=model.pool.workers_min,
                    workers_max=model.pool.workers_max,
                    config=spec.config,
                    runtime=str(spec.manifest.get("runtime") or "python"),
                )
            )
        return found

    def _archive_name(self, url: str) -> str:
        path = Path(url)
        if path.is_absolute():
            return str(path.relative_to(self._store)) if path.is_relative_to(self._store) else url
        return url.rsplit("/", 1)[-1] if "://" in url else url


def _after(name: str, kind: str) -> str:
    """Return the next name of a kind after one that was used; empty where none was."""
    return f"{int(name.partition('-')[0]) + 1:017d}-{kind}.cfg" if name else ""


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, text.encode(), mode=0o600)  # it may hold keystore_pass
    for old in snapshots_in(path.parent)[:-SNAPSHOTS_KEPT_MAX]:
        old.unlink(missing_ok=True)
