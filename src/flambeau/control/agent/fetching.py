"""What the storage-initializer does: find the credentials, fetch the models, put them where the pod reads them."""

from __future__ import annotations

import asyncio
import os.path
from collections.abc import Callable, Collection, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from flambeau.control.agent import logs
from flambeau.control.agent.directory import PodDirectory
from flambeau.control.agent.own_fetcher import run_fetcher
from flambeau.control.agent.volumes import volumes_of
from flambeau.control.resources.cluster_storage_container import CLUSTER_STORAGE_CONTAINER, fetcher_for, initializer_environment
from flambeau.control.resources.kind import Key, Object
from flambeau.control.resources.pod_contract import FETCHER_ANNOTATION, INITIALIZER_CONTAINER, MODELS_PATH
from flambeau.control.store.interface import Store
from flambeau.foundation.clock import Clock
from flambeau.foundation.errors import FlambeauError, NotFound
from flambeau.foundation.timestamps import rfc3339
from flambeau.storage.cache import Cache
from flambeau.storage.fetch import fetch
from flambeau.storage.identity import Asker, identify
from flambeau.storage.layout import lay_out
from flambeau.storage.model import Fetched, Progress
from flambeau.storage.patterns import patterns_of
from flambeau.storage.unpacked import keep

_LOG_PERCENT_STEP = 10
"""A log line each so many percent: a fetch writes eleven lines at most."""
_MEGABYTE = 1_000_000
_HOLDER_PREFIX = "pod/"


async def fetch_models(
    pod: Object, directory: PodDirectory, *, store: Store, cache: Cache, clock: Clock, tell: Callable[[str], None]
) -> str:
    """Fetch a pod's models, one after the other, and link them into the pod's directory.

    Args:
        pod: its initializer's arguments name them; its ServiceAccount gives the credentials.
        directory: the pod's.
        store: where ServiceAccount and Secrets are.
        cache: holds the models; leases in the pod's name keep them there.
        clock: for the log and the duration.
        tell: called with the progress in words.

    Returns:
        a sentence about what was fetched.

    Raises:
        FlambeauError: something can't be had; the reason names the cause.

    Cancel: what was downloaded stays in the cache's own workplace, to be resumed.
    """
    log = _Log(logs.begin(directory.path, INITIALIZER_CONTAINER), clock)
    wanted = sources_of(pod)
    trees: list[tuple[PurePosixPath, Path]] = []
    summaries = []
    try:
        for uri, place in wanted:
            fetched, summary = await _fetch(pod, uri, directory, store=store, cache=cache, clock=clock, tell=tell, log=log)
            await asyncio.to_thread(cache.lease, fetched.digest, holder(directory.id.uid))
            trees.append((place, fetched.path))
            summaries.append(summary)
        await asyncio.to_thread(lay_out, directory.model, trees)
    except FlambeauError as error:
        log.line(f"error: {error}")
        raise
    return "; ".join(summaries)


async def fetch_another(pod: Object, uri: str, directory: PodDirectory, *, store: Store, cache: Cache, clock: Clock) -> Fetched:
    """Fetch one more model for a pod that runs already, as its initializer would, and into the initializer's log.

    The caller holds it in the cache, and gives it back.

    Raises:
        FlambeauError: it can't be had; the reason names the cause.
    """
    log = _Log(logs.log_path(directory.path, INITIALIZER_CONTAINER), clock)
    try:
        fetched, _ = await _fetch(pod, uri, directory, store=store, cache=cache, clock=clock, tell=lambda _: None, log=log)
    except FlambeauError as error:
        log.line(f"error: {error}")
        raise
    return fetched


async def _fetch(
    pod: Object,
    uri: str,
    directory: PodDirectory,
    *,
    store: Store,
    cache: Cache,
    clock: Clock,
    tell: Callable[[str], None],
    log: _Log,
) -> tuple[Fetched, str]:
    started = clock.monotonic()
    log.line(f"fetching {uri}")
    annotations = pod["metadata"].get("annotations") or {}

    def on_progress(progress: Progress) -> None:
        tell(in_words(progress))
        log.progress(progress)

    uri, credentials = await identify(uri, _asker(pod), _reader(store))
    for warning in credentials.warnings:
        log.line(f"warning: {warning}")
    fetchers = (await store.list(CLUSTER_STORAGE_CONTAINER.id)).items
    fetcher = fetcher_for(uri, fetchers, annotations.get(FETCHER_ANNOTATION, ""))
    if fetcher is not None:
        log.line(f"fetched by the ClusterStorageContainer {fetcher['metadata']['name']}")

        async def make(folder: Path) -> None:
            await run_fetcher(fetcher, uri, folder, pod=pod, credentials=credentials, store=store, log=log.path)

        fetched = await keep(make, cache, on_progress)
    else:
        volumes = volumes_of(directory.path, directory.id.namespace)
        patterns = patterns_of(initializer_environment(uri, fetchers, annotations.get(FETCHER_ANNOTATION, "")))
        fetched = await fetch(uri, cache=cache, credentials=credentials, volumes=volumes, patterns=patterns, on_progress=on_progress)
    source = "already in the cache" if fetched.from_cache else f"in {clock.monotonic() - started:.1f} s"
    summary = f"fetched {uri}: {fetched.files} files, {fetched.bytes / _MEGABYTE:.1f} MB, {source}"
    log.line(summary)
    return fetched, summary


def sources_of(pod: Mapping[str, Any]) -> list[tuple[str, PurePosixPath]]:
    """Return (URI, place below the model volume) of everything that a pod's initializer is to fetch."""
    for container in pod["spec"].get("initContainers") or ():
        if container["name"] == INITIALIZER_CONTAINER:
            mounts = container.get("volumeMounts") or ()
            top = str(mounts[0]["mountPath"]) if mounts else MODELS_PATH
            words = [str(word) for word in container.get("args") or ()]
            pairs = zip(words[::2], words[1::2] or [top], strict=False)
            return [(uri, PurePosixPath(os.path.relpath(place, top))) for uri, place in pairs]
    return []


def holder(uid: str) -> str:
    """Return the name under which a pod holds its models in the cache."""
    return f"{_HOLDER_PREFIX}{uid}"


def release(cache: Cache, uid: str) -> None:
    """Give back what a pod holds in the cache. Blocks, on files."""
    for digest, holders in cache.leases().items():
        if holder(uid) in holders:
            cache.release(digest, holder(uid))


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


def _asker(pod: Object) -> Asker:
    metadata = pod["metadata"]
    return Asker(metadata["namespace"], pod["spec"].get("serviceAccountName") or "default", metadata.get("annotations"))


def _reader(store: Store) -> Callable[[str, str, str], Any]:
    async def read(kind: str, namespace: str, name: str) -> Object | None:
        try:
            return await store.get(Key(kind, namespace, name))
        except NotFound:
            return None

    return read


class _Log:
    def __init__(self, path: Path, clock: Clock) -> None:
        self.path = path
        self._clock = clock
        self._told = -_LOG_PERCENT_STEP

    def line(self, text: str) -> None:
        with self.path.open("a") as file:
            file.write(f"{rfc3339(self._clock.wall())} {text}\n")

    def progress(self, progress: Progress) -> None:
        percent = _percent(progress)
        if percent >= self._told + _LOG_PERCENT_STEP:
            self._told = percent - percent % _LOG_PERCENT_STEP
            self.line(in_words(progress))
