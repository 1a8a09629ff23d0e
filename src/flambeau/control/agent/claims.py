"""Give PersistentVolumeClaims their folders: ``HOME/volumes/<namespace>/<claim>``, or one that the claim names.

A folder outlives its claim: what people put there is theirs to delete.
"""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

from flambeau.control.resources.kind import Object
from flambeau.control.resources.lookup import find
from flambeau.control.resources.persistent_volume_claim import HOST_PATH_ANNOTATION, PERSISTENT_VOLUME_CLAIM
from flambeau.control.store.follow import follow
from flambeau.control.store.interface import Change, Event, Store
from flambeau.foundation.clock import Clock
from flambeau.foundation.errors import FlambeauError

_log = logging.getLogger(__name__)


class Claims:
    """Bind claims.

    Args:
        store: where they are.
        home: the platform's directory.
        clock: for pauses between attempts.
    """

    def __init__(self, store: Store, home: Path, clock: Clock) -> None:
        self._store = store
        self._volumes = home / "volumes"
        self._clock = clock

    async def run(self) -> None:
        """Bind every claim that is written, until cancelled."""
        async for event in follow(self._store, PERSISTENT_VOLUME_CLAIM.id, clock=self._clock):
            try:
                await self._note(event)
            except (FlambeauError, OSError) as error:
                metadata = event.object["metadata"]
                _log.warning("cannot bind claim %s/%s: %s", metadata["namespace"], metadata["name"], error)

    async def _note(self, event: Event) -> None:
        claim = event.object
        if event.change is Change.DELETED or find(claim, "status", "phase") == "Bound":
            return
        metadata = claim["metadata"]
        folder = self._volumes / metadata["namespace"] / metadata["name"]
        await asyncio.to_thread(_make, folder, (metadata.get("annotations") or {}).get(HOST_PATH_ANNOTATION))
        status: Object = {"phase": "Bound", "accessModes": find(claim, "spec", "accessModes") or []}
        if requests := find(claim, "spec", "resources", "requests"):
            status["capacity"] = requests
        await self._store.update({**claim, "status": status}, status=True)


def _make(folder: Path, host_path: str | None) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    if host_path is None:
        folder.mkdir(exist_ok=True)
    elif not folder.exists():
        folder.symlink_to(Path(host_path).resolve(strict=True))
