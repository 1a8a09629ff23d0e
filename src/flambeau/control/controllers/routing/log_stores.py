"""Find the credentials of loggers' storages and leave them for the gateway, which writes the files.

They are those of the ServiceAccount that the logger names, or of ``logger-sa``, as in the original; else of the pods' own. They are looked
up at each pass over the routes, so a Secret that changes is followed within ``reconcile.NEWS_SECONDS``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from flambeau.control.controllers.names import SERVICE_LABEL, SERVICES
from flambeau.control.controllers.routing.desired import Routes
from flambeau.control.controllers.routing.directory import Snapshot
from flambeau.control.controllers.sidecar import logger_account
from flambeau.control.resources.kind import Key, Object
from flambeau.control.store.interface import Store
from flambeau.foundation.errors import InvalidInput, NotFound
from flambeau.gateway.document import Backend, Document
from flambeau.storage import credential_files
from flambeau.storage.deposit_uri import parse_deposit
from flambeau.storage.identity import Asker, identify
from flambeau.storage.uri import FileUri

USUAL_ACCOUNT = "logger-sa"
"""The ServiceAccount of a logger that names none."""


class LogStores:
    """Keep the credentials' files.

    Args:
        store: where ServiceAccounts and Secrets are.
        folder: of the files.
    """

    def __init__(self, store: Store, folder: Path) -> None:
        self._store = store
        self._folder = folder
        self._named: frozenset[Path] = frozenset()

    async def complete(self, new: Routes, snapshot: Snapshot) -> Routes:
        """Return the routes with the credentials of each logger that writes files, and warnings of those that can't be found.

        Raises:
            Unavailable: the disk refuses.
        """
        if not any(_needs_credentials(backend) for backend in new.document.backends):
            return new
        revisions = {f"{each['metadata']['namespace']}/{each['metadata']['name']}": each for each in snapshot.revisions}
        backends, warnings = [], dict(new.warnings)
        for backend in new.document.backends:
            revision = revisions.get(backend.name)
            if not _needs_credentials(backend) or revision is None:
                backends.append(backend)
                continue
            try:
                backends.append(await self._complete(backend, revision))
            except (NotFound, InvalidInput) as error:
                backends.append(backend)  # each file that can't be written counts, and is told
                metadata = revision["metadata"]
                key = Key(SERVICES, metadata["namespace"], (metadata.get("labels") or {}).get(SERVICE_LABEL, ""))
                warnings[key] = (*warnings.get(key, ()), f"the logger of revision {metadata['name']} can't write: {error}")
        return replace(new, document=replace(new.document, backends=tuple(backends)), warnings=warnings)

    async def clean(self, document: Document) -> None:
        """Delete the files that neither a document that is served now names, nor the one before it, whose last files are being written."""
        stores = [backend.logger.store for backend in document.backends if backend.logger is not None]
        named = frozenset(Path(store.credentials) for store in stores if store is not None and store.credentials)
        kept, self._named = self._named | named, named
        await asyncio.to_thread(credential_files.clean, self._folder, kept)

    async def _complete(self, backend: Backend, revision: Object) -> Backend:
        assert backend.logger is not None
        assert backend.logger.store is not None
        metadata = revision["metadata"]
        account = logger_account(revision) or await self._usual_account(revision)
        asker = Asker(metadata["namespace"], account, metadata.get("annotations"))
        _, credentials = await identify(backend.logger.url, asker, self._read)
        path = await asyncio.to_thread(credential_files.leave, credentials, self._folder)
        return replace(backend, logger=replace(backend.logger, store=replace(backend.logger.store, credentials=str(path))))

    async def _usual_account(self, revision: Object) -> str:
        if await self._read("serviceaccounts", revision["metadata"]["namespace"], USUAL_ACCOUNT) is not None:
            return USUAL_ACCOUNT
        return str(revision["spec"].get("serviceAccountName") or "default")

    async def _read(self, kind: str, namespace: str, name: str) -> Mapping[str, Any] | None:
        try:
            return await self._store.get(Key(kind, namespace, name))
        except NotFound:
            return None


def _needs_credentials(backend: Backend) -> bool:
    logger = backend.logger
    return logger is not None and logger.store is not None and not isinstance(parse_deposit(logger.url), FileUri)
