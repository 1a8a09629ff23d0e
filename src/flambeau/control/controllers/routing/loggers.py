"""Complete loggers by what is kept elsewhere: the credentials of their storages, left for the gateway, and the certificates to trust.

Credentials are those of the ServiceAccount that the logger names, or of ``logger-sa``, as in the original; else of the pods' own. All is
looked up at each pass over the routes, so a Secret that changes is followed within ``reconcile.NEWS_SECONDS``.
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
from flambeau.control.controllers.sidecar import LoggerConfig, logger_account
from flambeau.control.resources.kind import Key, Object
from flambeau.control.store.interface import Store
from flambeau.foundation.errors import InvalidInput, NotFound
from flambeau.gateway.document import Document, Logger
from flambeau.storage import credential_files
from flambeau.storage.deposit_uri import parse_deposit
from flambeau.storage.identity import Asker, identify
from flambeau.storage.uri import FileUri

USUAL_ACCOUNT = "logger-sa"
"""The ServiceAccount of a logger that names none."""


class Loggers:
    """Complete loggers, and keep the credentials' files.

    Args:
        store: where ServiceAccounts, Secrets and ConfigMaps are.
        folder: of the files.
    """

    def __init__(self, store: Store, folder: Path) -> None:
        self._store = store
        self._folder = folder
        self._named: frozenset[Path] = frozenset()

    async def complete(self, new: Routes, snapshot: Snapshot) -> Routes:
        """Return the routes with complete loggers, and warnings of those whose credentials or certificates can't be found.

        Raises:
            Unavailable: the disk refuses.
        """
        usual = snapshot.logging
        if not any(_lacks(backend.logger, usual) for backend in new.document.backends):
            return new
        revisions = {f"{each['metadata']['namespace']}/{each['metadata']['name']}": each for each in snapshot.revisions}
        backends, warnings = [], dict(new.warnings)
        for backend in new.document.backends:
            logger, revision = backend.logger, revisions.get(backend.name)
            if logger is None or revision is None or not _lacks(logger, usual):
                backends.append(backend)
                continue
            try:
                backends.append(replace(backend, logger=await self._complete(logger, revision, usual)))
            except (NotFound, InvalidInput) as error:
                backends.append(backend)  # each copy that is lost counts, and is told
                metadata = revision["metadata"]
                key = Key(SERVICES, metadata["namespace"], (metadata.get("labels") or {}).get(SERVICE_LABEL, ""))
                warnings[key] = (*warnings.get(key, ()), f"the logger of revision {metadata['name']} is not complete: {error}")
        return replace(new, document=replace(new.document, backends=tuple(backends)), warnings=warnings)

    async def clean(self, document: Document) -> None:
        """Delete the files that neither a document that is served now names, nor the one before it, whose last files are being written."""
        stores = [backend.logger.store for backend in document.backends if backend.logger is not None]
        named = frozenset(Path(store.credentials) for store in stores if store is not None and store.credentials)
        kept, self._named = self._named | named, named
        await asyncio.to_thread(credential_files.clean, self._folder, kept)

    async def _complete(self, logger: Logger, revision: Object, usual: LoggerConfig) -> Logger:
        metadata = revision["metadata"]
        if logger.store is None:
            return replace(logger, certificates=await self._certificates(metadata["namespace"], usual))
        account = logger_account(revision, usual) or await self._usual_account(revision)
        asker = Asker(metadata["namespace"], account, metadata.get("annotations"))
        _, credentials = await identify(logger.url, asker, self._read)
        path = await asyncio.to_thread(credential_files.leave, credentials, self._folder)
        return replace(logger, store=replace(logger.store, credentials=str(path)))

    async def _certificates(self, namespace: str, usual: LoggerConfig) -> str:
        config_map = await self._read("configmaps", namespace, usual.certificates) or {}
        found = (config_map.get("data") or {}).get(usual.certificates_key)
        if not found:
            place = f"config map {namespace}/{usual.certificates}, named by caBundle of inferenceservice-config's logger"
            raise NotFound(f"{place}, is not there or has no key {usual.certificates_key}", reason="ConfigMapNotFound")
        return str(found)

    async def _usual_account(self, revision: Object) -> str:
        if await self._read("serviceaccounts", revision["metadata"]["namespace"], USUAL_ACCOUNT) is not None:
            return USUAL_ACCOUNT
        return str(revision["spec"].get("serviceAccountName") or "default")

    async def _read(self, kind: str, namespace: str, name: str) -> Mapping[str, Any] | None:
        try:
            return await self._store.get(Key(kind, namespace, name))
        except NotFound:
            return None


def _lacks(logger: Logger | None, usual: LoggerConfig) -> bool:
    """Tell whether something about a logger is kept elsewhere."""
    if logger is None:
        return False
    if logger.store is None:
        return bool(usual.certificates) and logger.url.startswith("https://")
    return not isinstance(parse_deposit(logger.url), FileUri)
