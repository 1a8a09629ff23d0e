"""What the management doors call: register, scale, unregister, choose the default version.

HTTP and gRPC turn requests into these calls and their results into their own words. An operation that fails leaves nothing behind: a
model that cannot be run is taken out again before its error is answered, and workers that do not start get their old bounds back.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from pathlib import Path

from flambeau.foundation.errors import InvalidInput, NotReady, TimedOut, WorkerLost
from flambeau.serving.archive.manifest import RUNTIMES
from flambeau.serving.archive.source import ArchiveSource
from flambeau.serving.repository import PROCESS_START_SECONDS_MAX, LoadedModel, Registration, Repository

NAME_CHARS_MAX = 256
"""Of a model's name."""
WORKERS_MAX = 4_096
"""Nobody means more; each is a process."""


@dataclass(frozen=True, slots=True)
class Wish:
    """A model that somebody wants served. None: not said."""

    url: str
    """Archive or folder in the model store, or an address that ``allowed_urls`` allows."""
    name: str | None = None
    handler: str | None = None
    runtime: str | None = None
    batch_size: int | None = None
    max_batch_delay_ms: int | None = None
    initial_workers: int | None = None
    response_timeout_seconds: int | None = None
    startup_timeout_seconds: int | None = None
    synchronous: bool = True
    """Answer when the workers have loaded, not when they are started."""
    signed: bool = False
    """``s3_sse_kms``: the download is signed with AWS's credentials."""


@dataclass(frozen=True, slots=True)
class Done:
    """What came of an operation."""

    message: str
    finished: bool = True
    """False: it goes on, and nobody waits for it."""


Register = Callable[[Wish, Path], Registration]
"""Makes a registration of a wish and its archive; the settings decide which value wins."""


class Management:
    """Change what is served.

    Args:
        repository: where models are.
        source: finds and downloads archives.
        register: turns a wish into a registration.
        unregister_seconds: what the workers of a model that goes may take for what was accepted.
        on_change: awaited after each change, for the snapshots.
    """

    def __init__(
        self,
        repository: Repository,
        source: ArchiveSource,
        register: Register,
        *,
        unregister_seconds: float,
        on_change: Callable[[], Awaitable[None]],
    ) -> None:
        self._repository = repository
        self._source = source
        self._register = register
        self._unregister_seconds = unregister_seconds
        self._on_change = on_change

    async def register(self, wish: Wish) -> Done:
        """Load a model and start its workers.

        Raises:
            InvalidInput: the archive, or something that was asked for, is wrong.
            NotFound: there is no such archive, or its address is not allowed.
            Conflict: the version is registered already.
            WorkerLost: a worker could not load the model; nothing of it is left.

        Cancel: the model stays where it was already loaded.
        """
        _check(wish)
        archive = await self._source.find(wish.url, signed=wish.signed)
        registration = self._register(wish, archive.path)
        if archive.downloaded:
            registration = replace(registration, downloaded=True)
        model = await self._load(registration)
        workers, label = model.pool.workers_min, f'Model "{model.name}" Version: {model.version}'
        if workers and wish.synchronous:
            try:
                await workers_loaded(model, model.name, model.version)
            except BaseException:
                await asyncio.shield(self._repository.discard(model))
                raise
        await self._on_change()
        if not workers:
            return Done(f"{label} registered with 0 initial workers. Use scale workers API to add workers for the model.")
        if wish.synchronous:
            return Done(f"{label} registered with {workers} initial workers")
        return Done("Processing worker updates...", finished=False)

    async def scale(self, name: str, version: str | None, workers_min: int, workers_max: int, *, synchronous: bool) -> Done:
        """Set the bounds of a model's workers.

        Raises:
            InvalidInput: the bounds are none.
            NotFound: there is no such model.
            WorkerLost: a worker could not load the model; the old bounds hold again.
        """
        if workers_max < workers_min:
            raise InvalidInput("max_worker cannot be less than min_worker.")
        if workers_min < 0 or workers_max > WORKERS_MAX:
            raise InvalidInput(f"min_worker and max_worker must be from 0 to {WORKERS_MAX}")
        model = self._repository.find(name, version)
        pool = model.pool
        before = (pool.workers_min, pool.workers_max)
        pool.scale(workers_min, workers_max)
        if not synchronous:
            await self._on_change()
            return Done("Processing worker updates...", finished=False)
        try:
            await workers_loaded(model, name, version)
        except WorkerLost:
            if (pool.workers_min, pool.workers_max) == (workers_min, workers_max):  # nobody has scaled it again meanwhile
                pool.scale(*before)
            raise
        await pool.wait_let_go(_now() + self._unregister_seconds)
        await self._on_change()
        named = f", version: {version}" if version is not None else ""
        return Done(f"Workers scaled to {workers_min} for model: {name}{named}")

    async def unregister(self, name: str, version: str | None) -> Done:
        """Take a model away after it has answered what it had accepted.

        Raises:
            NotFound: there is no such model.
            Denied: it is the default version and there are others.
            Conflict: it is a workflow's.
        """
        await self._repository.remove(name, version, self._unregister_seconds)
        await self._on_change()
        return Done(f'Model "{name}" unregistered')

    async def choose_default(self, name: str, version: str) -> Done:
        """Send unversioned requests to a version.

        Raises:
            NotFound: there is no such model or version.
        """
        self._repository.choose_default(name, version)
        await self._on_change()
        return Done(f'Default version successfully updated for model "{name}" to "{version}"')

    async def _load(self, registration: Registration) -> LoadedModel:
        try:
            return await self._repository.load(registration)
        except InvalidInput as error:
            # Whatever is wrong with an archive, even its size, is the archive's and not the request's.
            raise InvalidInput(error.message, hint=error.hint, reason="InvalidModel") from error


async def workers_loaded(model: LoadedModel, name: str, version: str | None) -> None:
    """Wait until the minimum of a model's workers has loaded.

    Raises:
        WorkerLost: they do not load; it is told in TorchServe's words and with its cause.
    """
    seconds = model.spec.config.startup_timeout_seconds + PROCESS_START_SECONDS_MAX
    try:
        await model.pool.wait_ready(_now() + seconds)
    except (NotReady, TimedOut) as error:
        named = f" version: {version}" if version is not None else ""
        lacks_memory = any(word in str(error) for word in ("MemoryError", "CUDA"))
        raise WorkerLost(
            f"Failed to start workers for model {name}{named}: {error.message}",
            hint=error.hint,
            reason="OutOfMemory" if lacks_memory else None,
        ) from error


def _check(wish: Wish) -> None:
    """Refuse what no archive can make right."""
    if wish.runtime is not None and wish.runtime not in RUNTIMES:
        raise InvalidInput(f"Invalid RuntimeType value: {wish.runtime}", hint=f"use {' or '.join(RUNTIMES[:2])}")
    name = wish.name
    if name is not None and not (1 <= len(name) <= NAME_CHARS_MAX and name.isprintable()):
        raise InvalidInput(f"model_name must have 1 to {NAME_CHARS_MAX} printable characters")
    if wish.initial_workers is not None and wish.initial_workers > WORKERS_MAX:
        raise InvalidInput(f"initial_workers must be at most {WORKERS_MAX}")


def _now() -> float:
    return asyncio.get_running_loop().time()
