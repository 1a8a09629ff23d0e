"""What the storage-initializer does: find the credentials, fetch the model, put it where the pod reads it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from pathlib import Path

from flambeau.control.agent import logs
from flambeau.control.agent.directory import PodDirectory
from flambeau.control.resources.kind import Key, Object
from flambeau.control.resources.pod_contract import INITIALIZER_CONTAINER
from flambeau.control.store.interface import Store
from flambeau.foundation.clock import Clock
from flambeau.foundation.errors import FlambeauError, NotFound
from flambeau.foundation.timestamps import rfc3339
from flambeau.storage.cache import Cache
from flambeau.storage.credentials import from_secrets
from flambeau.storage.fetch import fetch
from flambeau.storage.model import Credentials, Fetched, Progress

SECRET_NAME_ANNOTATION = "serving.kserve.io/storageSecretName"  # noqa: S105 - a name
_LOG_PERCENT_STEP = 10
"""A log line each so many percent: a fetch writes eleven lines at most."""
_MEGABYTE = 1_000_000
_HOLDER_PREFIX = "pod/"


async def fetch_model(
    pod: Object, uri: str, directory: PodDirectory, *, store: Store, cache: Cache, clock: Clock, tell: Callable[[str], None]
) -> tuple[Fetched, str]:
    """Fetch a pod's model and link it into the pod's directory.

    Args:
        pod: whose ServiceAccount gives the credentials.
        uri: what to fetch.
        directory: the pod's.
        store: where ServiceAccount and Secrets are.
        cache: holds the model; a lease in the pod's name keeps it there.
        clock: for the log and the duration.
        tell: called with the progress in words.

    Returns:
        what was fetched, and a sentence about it.

    Raises:
        FlambeauError: it can't be had; the reason names the cause.

    Cancel: what was downloaded stays in the cache's own workplace, to be resumed.
    """
    log = _Log(logs.begin(directory.path, INITIALIZER_CONTAINER), clock)
    started = clock.monotonic()
    log.line(f"fetching {uri}")

    def on_progress(progress: Progress) -> None:
        tell(in_words(progress))
        log.progress(progress)

    try:
        credentials = await credentials_of(pod, store)
        for warning in credentials.warnings:
            log.line(f"warning: {warning}")
        fetched = await fetch(uri, cache=cache, credentials=credentials, on_progress=on_progress)
        await asyncio.to_thread(cache.lease, fetched.digest, holder(directory.id.uid))
    except FlambeauError as error:
        log.line(f"error: {error}")
        raise
    directory.link_model(fetched.path)
    source = "already in the cache" if fetched.from_cache else f"in {clock.monotonic() - started:.1f} s"
    summary = f"fetched {uri}: {fetched.files} files, {fetched.bytes / _MEGABYTE:.1f} MB, {source}"
    log.line(summary)
    return fetched, summary


def holder(uid: str) -> str:
    """Return the name under which a pod holds its model in the cache."""
    return f"{_HOLDER_PREFIX}{uid}"


def release_abandoned(cache: Cache, uids: Collection[str]) -> None:
    """Give back the leases of pods that aren't there any more. Blocks, on files."""
    wanted = {holder(uid) for uid in uids}
    for digest, holders in cache.leases().items():
        for name in holders - wanted:
            if name.startswith(_HOLDER_PREFIX):
                cache.release(digest, name)


def in_words(progress: Progress) -> str:
    """Return ``40 % (12.0 of 30.0 MB, 2 of 3 files)``."""
    done, total = progress.bytes_done, progress.bytes_total
    size = f"{done / _MEGABYTE:.1f} of {total / _MEGABYTE:.1f} MB"
    return f"{_percent(progress)} % ({size}, {progress.files_done} of {progress.files_total} files)"


def _percent(progress: Progress) -> int:
    return 100 if progress.bytes_total == 0 else 100 * progress.bytes_done // progress.bytes_total


async def credentials_of(pod: Object, store: Store) -> Credentials:
    """Return what the pod's ServiceAccount, or the one Secret that an annotation names, gives for storage.

    Raises:
        NotFound: reason ServiceAccountNotFound or SecretNotFound.
    """
    namespace = pod["metadata"]["namespace"]
    only = (pod["metadata"].get("annotations") or {}).get(SECRET_NAME_ANNOTATION)
    if only:
        return from_secrets([await _secret(store, namespace, only, f"the annotation {SECRET_NAME_ANNOTATION}")])
    name = pod["spec"].get("serviceAccountName") or "default"
    try:
        account = await store.get(Key("serviceaccounts", namespace, name))
    except NotFound:
        raise NotFound(
            f'ServiceAccount "{name}" is not there in namespace {namespace}',
            hint="create it, or name another one as spec.predictor.serviceAccountName",
            reason="ServiceAccountNotFound",
        ) from None
    names = [entry["name"] for entry in account.get("secrets") or () if entry.get("name")]
    return from_secrets([await _secret(store, namespace, each, f'ServiceAccount "{name}"') for each in names])


async def _secret(store: Store, namespace: str, name: str, named_by: str) -> Object:
    try:
        return await store.get(Key("secrets", namespace, name))
    except NotFound:
        raise NotFound(
            f'Secret "{name}", named by {named_by}, is not there in namespace {namespace}',
            hint="create it, or take its name out",
            reason="SecretNotFound",
        ) from None


class _Log:
    def __init__(self, path: Path, clock: Clock) -> None:
        self._path = path
        self._clock = clock
        self._told = -_LOG_PERCENT_STEP

    def line(self, text: str) -> None:
        with self._path.open("a") as file:
            file.write(f"{rfc3339(self._clock.wall())} {text}\n")

    def progress(self, progress: Progress) -> None:
        percent = _percent(progress)
        if percent >= self._told + _LOG_PERCENT_STEP:
            self._told = percent - percent % _LOG_PERCENT_STEP
            self.line(in_words(progress))
