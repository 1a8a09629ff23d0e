"""Name and version -> loaded model.

Every registration is unpacked, configured and loaded in a task of its own; what fails is kept with its phase and cause, and the other
models serve. Doors reach it through ``dataplane`` and ``management``; it makes no process itself but asks for a WorkerPool. The table is
changed in one step between two awaits, so that no request and no other change meets half a model.
"""

from __future__ import annotations

import asyncio
import logging
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path

from flambeau.foundation.errors import Conflict, Denied, FlambeauError, InvalidInput, NotFound, NotReady
from flambeau.foundation.tasks import TaskOwner
from flambeau.serving.archive.formats import found_in
from flambeau.serving.archive.manifest import Manifest, name_of_archive
from flambeau.serving.archive.model_config import read_model_config
from flambeau.serving.archive.plain import manifest_of_model
from flambeau.serving.archive.requirements import Packages, install_requirements, interpreter_in
from flambeau.serving.archive.unpack import Unpacked, unpack
from flambeau.serving.batching.kinds import queue_of
from flambeau.serving.metrics.server import ModelReading, ServerMetrics
from flambeau.serving.model import ModelConfig, ModelSpec
from flambeau.serving.workers.devices import Devices, resolved
from flambeau.serving.workers.pool import WorkerPool
from flambeau.serving.workers.starter import Starter, starter_of

_log = logging.getLogger(__name__)

PROCESS_START_SECONDS_MAX = 120.0
"""Beside its load limit, what a worker may take until it loads; whoever waits for workers waits so much longer."""
NAMES_SHOWN_MAX = 10
"""So many names stand in a not-found message."""

Configure = Callable[[str, str, Mapping[str, object]], tuple[ModelConfig, list[str]]]
"""Name, version and model-config.yaml -> how the model is run, and what was odd about it."""


class Phase(StrEnum):
    """How far a model has come."""

    UNPACKING = "unpacking"
    INSTALLING = "installing requirements"
    CONFIGURING = "configuring"
    LOADING = "loading"
    """Its workers start and run the handler's initialize; they go on trying when that fails."""
    READY = "ready"


class Origin(StrEnum):
    """Who wished for a model."""

    STARTUP = "load_models"
    SNAPSHOT = "model_snapshot"
    REQUEST = "management API"
    WORKFLOW = "workflow"
    """A node: it comes and goes with its workflow, and its name is the workflow's affair."""

    @property
    def is_start(self) -> bool:
        """Whether the server's readiness waits for it."""
        return self in (Origin.STARTUP, Origin.SNAPSHOT)


@dataclass(frozen=True, slots=True)
class Registration:
    """What is to be served."""

    archive: Path
    url: str
    """As the user named it: ``mnist.mar``."""
    configure: Configure
    name: str | None = None
    """Overrides the manifest's."""
    handler: str | None = None
    """Overrides the manifest's."""
    runtime: str | None = None
    """Overrides the manifest's."""
    manifest: Manifest | None = None
    """In place of the archive's: a plain folder has none."""
    origin: Origin = Origin.STARTUP
    is_default: bool = False
    """Unversioned requests go to this version, whichever is loaded first."""
    downloaded: bool = False
    """The archive came from elsewhere for this model alone and is removed with it."""
    default_handler: str | None = None
    """Where the manifest names none."""
    envelope: str | None = None
    limit_image_pixels: bool = True
    decode_input: bool = True
    packages_cache: Path | None = None
    """Where the archive's requirements are installed; None: they are not (install_py_dep_per_model is false)."""


@dataclass(frozen=True, slots=True)
class Standing:
    """How a registration stands now."""

    label: str
    """``mnist 1.0``; before the archive is read, what the registration says."""
    phase: Phase
    ready: bool
    failed: bool = False
    """Something went wrong, and this is more than being on its way."""
    reason: str = ""
    """CamelCase; empty when ready."""
    message: str = ""
    """One sentence with cause and hint; empty when ready."""
    log_tail: tuple[str, ...] = ()
    """The last lines that a failing worker wrote."""
    awaited: bool = True
    """The server is not ready before this model is."""

    @property
    def is_read(self) -> bool:
        """Whether its archive was read."""
        return self.phase in (Phase.LOADING, Phase.READY)


class LoadedModel:
    """One model version whose archive was read; its workers may still be loading.

    Args:
        spec: what the workers load.
        starter: where worker processes come from.
        origin: who wished for it.
        devices: where its workers get GPUs.
    """

    def __init__(self, spec: ModelSpec, starter: Starter, origin: Origin = Origin.STARTUP, devices: Devices | None = None) -> None:
        self.spec = spec
        self.origin = origin
        self.name = spec.name
        self.version = spec.version
        self.pool = WorkerPool(spec, starter_of(spec, starter), devices=devices)
        self.queue = queue_of(spec, self.pool)

    def reading(self) -> ModelReading:
        """Return what metrics tell of it now."""
        pool, queue = self.pool, self.queue
        return ModelReading(
            name=self.name,
            version=self.version,
            queue_depth=queue.pending,
            oldest_age_seconds=queue.oldest_age_seconds(asyncio.get_running_loop().time()),
            workers=pool.workers_total,
            workers_ready=pool.workers_serving,
            worker_restarts=pool.deaths,
            late_answers=queue.late_answers,
            batches_by_size=dict(queue.batches_by_size),
            load_seconds=pool.load_seconds(),
        )

    async def close(self, grace_seconds: float) -> None:
        """Answer what was accepted, then end the workers. Nothing is left running."""
        deadline = asyncio.get_running_loop().time() + grace_seconds
        await self.queue.drain(deadline)
        await self.pool.stop(max(0.0, deadline - asyncio.get_running_loop().time()))


class _Entry:
    """A registration on its way to a loaded model."""

    def __init__(self, registration: Registration) -> None:
        self.registration = registration
        self.phase = Phase.UNPACKING
        self.error: FlambeauError | None = None
        self.model: LoadedModel | None = None
        self.directory: Path | None = None
        """Where the archive was unpacked; None for a folder that is used where it is."""
        self.packages: Packages | None = None

    @property
    def name(self) -> str:
        """The model's name as far as it is known."""
        return self.model.name if self.model is not None else self.registration.name or name_of_archive(self.registration.archive)

    def standing(self) -> Standing:
        """Return how it stands."""
        model, awaited = self.model, self.registration.origin.is_start
        if model is None:
            if self.error is not None:
                why = f"cannot load model {self.name}: {self.error}"
                return Standing(self.name, self.phase, False, True, self.error.reason, why, awaited=awaited)
            why = f"model {self.name} is not loaded yet: {self.phase}"
            return Standing(self.name, self.phase, False, False, "ModelLoading", why, awaited=awaited)
        label = f"{model.name} {model.version}"
        if model.pool.workers_max == 0:
            # Nobody wishes it to answer: it isn't ready, and the server is not the worse for it.
            why = f"model {label} has no workers: scale it up"
            return Standing(label, Phase.READY, False, reason="NoWorkers", message=why, awaited=False)
        if model.pool.is_steady:
            return Standing(label, Phase.READY, True, awaited=awaited)
        failure = model.pool.failure()
        if failure is None:
            why = f"model {label} is not loaded yet: workers are starting"
            return Standing(label, Phase.LOADING, False, reason="ModelLoading", message=why, awaited=awaited)
        reason = "WorkerDied" if failure.phase == "answer" else "ModelLoadFailed"
        return Standing(label, Phase.LOADING, False, True, reason, str(failure), failure.log_tail, awaited)


class Repository:
    """Keep models.

    Args:
        directory: archives are unpacked below it.
        starter: where worker processes come from.
        alias: a second name for the model, if there is only one (INFERENCE_SERVICE_NAME).
        metrics: told what handlers measure.
        devices: where workers get GPUs; None: there are none.
    """

    def __init__(
        self,
        directory: Path,
        starter: Starter,
        *,
        alias: str | None = None,
        metrics: ServerMetrics | None = None,
        devices: Devices | None = None,
    ) -> None:
        self._devices = devices or Devices(0)
        self._directory = directory
        self._starter = starter
        self._alias = alias
        self._metrics = metrics
        self._entries: list[_Entry] = []
        self._models: dict[str, dict[str, LoadedModel]] = {}
        # (name, version or None) -> model: one look-up a request; made anew when a model comes.
        self._found: dict[tuple[str, str | None], LoadedModel] = {}
        self._reading: list[asyncio.Task[None]] = []
        # Out of the table, and still answering what they had accepted.
        self._leaving: set[LoadedModel] = set()
        # Name -> the default version that somebody chose; without a choice the order of registration decides.
        self._chosen: dict[str, str] = {}
        self._tasks = TaskOwner("repository")

    def register(self, registration: Registration) -> None:
        """Begin to load a model; returns at once, ``standings`` says how it goes."""
        entry = _Entry(registration)
        self._entries.append(entry)
        self._reading.append(self._tasks.start(f"load {entry.name}", self._load(entry)))

    async def load(self, registration: Registration) -> LoadedModel:
        """Read an archive and add its model; its workers are started, not waited for.

        Raises:
            Conflict: its version is there already.
            FlambeauError: the archive cannot be read or run; nothing of it is left.

        Cancel: nothing is left but, for a moment, what a thread still unpacks.
        """
        entry = _Entry(registration)
        try:
            spec = await self._read(entry)
            self._check_is_new(spec)
        except BaseException:
            await asyncio.shield(asyncio.to_thread(_discard, entry))
            raise
        self._entries.append(entry)
        return self._admit(entry, spec)

    async def remove(self, name: str, version: str | None, grace_seconds: float) -> None:
        """Take a model out of the table at once, then answer what it had accepted, end its workers and remove its files.

        Args:
            name: the model's.
            version: None is the default version.
            grace_seconds: what its workers may still take for what was accepted.

        Raises:
            NotFound: there is none of that name or version.
            NotReady: its archive is still being read.
            Denied: it is the default version and there are others.
            Conflict: it is a node of a workflow.
        """
        await self._end(self._entry_to_remove(name, version), grace_seconds)

    async def discard(self, model: LoadedModel, grace_seconds: float = 0.0) -> None:
        """Remove a model whose time is over, default or not; without effect if somebody has removed it meanwhile."""
        for entry in self._entries:
            if entry.model is model:
                await self._end(entry, grace_seconds)
                return

    async def withdraw(self, registration: Registration, grace_seconds: float) -> None:
        """Remove what came of a registration, loaded or not; without effect if somebody has removed it meanwhile."""
        for entry in self._entries:
            if entry.registration is registration:
                await self._end(entry, grace_seconds)
                return

    async def replace(self, old: Registration, new: Registration, grace_seconds: float) -> LoadedModel:
        """Load a registered model anew; the new one takes over when its workers have loaded, and until then the old one serves.

        Args:
            old: as it was given to ``register``, or to this as the new one.
            new: what it shall be.
            grace_seconds: what the old workers may still take for what was accepted.

        Raises:
            NotFound: the old one was removed meanwhile.
            FlambeauError: the new one cannot be read or run; the old one stays as it was.

        Cancel: the old one stays as it was.
        """
        entry, fresh = self._entry_of(old), _Entry(new)
        try:
            spec = await self._read(fresh)
            if entry.model is None or (spec.name, spec.version) != (entry.model.name, entry.model.version):
                self._check_is_new(spec)
            fresh.phase = Phase.LOADING
            fresh.model = model = self._opened(spec, new.origin)
            model.pool.start()
            seconds = spec.config.startup_timeout_seconds + PROCESS_START_SECONDS_MAX
            await model.pool.wait_ready(asyncio.get_running_loop().time() + seconds)
            entry = self._entry_of(old)
        except BaseException:
            await asyncio.shield(self._let_go(fresh, 0.0))
            raise
        self._entries[self._entries.index(entry)] = fresh
        if entry.model is not None:
            del self._models[entry.model.name][entry.model.version]
        self._models.setdefault(model.name, {})[model.version] = model
        self._tidy()
        self._index()
        self._tasks.start(f"let the old {entry.name} go", self._let_go(entry, grace_seconds))
        return model

    def choose_default(self, name: str, version: str) -> None:
        """Send unversioned requests to this version from now on.

        Raises:
            NotFound: there is none of that name or version.
        """
        model = self.find(name, None)
        if version not in self._models[model.name]:
            raise NotFound(
                f"Model version {version} does not exist for model {name}",
                hint=f"there is {', '.join(self._models[model.name])}",
                reason="ModelVersionNotFound",
            )
        self._chosen[model.name] = version
        self._index()

    def find(self, name: str, version: str | None) -> LoadedModel:
        """Return the model of a name and version; None is the default version.

        Raises:
            NotFound: there is none; the text names those there are.
            NotReady: its archive is not read yet, or could not be; the text says why.
        """
        model = self._found.get((name, version))
        if model is None:
            raise self._why_not(name, version)
        return model

    def standing(self, name: str, version: str | None) -> Standing:
        """Return how one model stands.

        Raises:
            NotFound: there is none of that name or version.
        """
        model = self._found.get((name, version))
        for entry in self._entries:
            if (model is not None and entry.model is model) or (model is None and entry.model is None and self._is_called(entry, name)):
                return entry.standing()
        raise self._why_not(name, version)

    def standings(self) -> list[Standing]:
        """Return how every registration stands, in their order."""
        return [entry.standing() for entry in self._entries]

    def names(self) -> list[str]:
        """Return the names of all models, loaded or on their way, sorted; without the nodes of workflows."""
        return sorted({entry.name for entry in self._entries if entry.registration.origin is not Origin.WORKFLOW})

    def models(self) -> list[LoadedModel]:
        """Return every model whose archive was read."""
        return [model for versions in self._models.values() for model in versions.values()]

    def versions(self, name: str) -> list[LoadedModel]:
        """Return the versions of a model, in the order in which they were read."""
        model = self._found.get((name, None))
        return list(self._models[model.name].values()) if model is not None else []

    async def wait_read(self) -> None:
        """Wait until every archive of the start was read, with or without success."""
        if self._reading:
            await asyncio.wait(self._reading)

    async def stop(self, grace_seconds: float) -> None:
        """End every model and its workers; what they work on may take the grace. May be called once."""
        await self._tasks.close()
        await asyncio.gather(*(model.close(grace_seconds) for model in (*self.models(), *self._leaving)))
        for entry in self._entries:
            if entry.packages is not None:
                entry.packages.release()

    async def _load(self, entry: _Entry) -> None:
        """Take one registration of the start from its archive to its workers; keep what goes wrong with it."""
        try:
            spec = await self._read(entry)
            self._check_is_new(spec)
        except FlambeauError as error:
            entry.error = error
            _log.error("cannot load model %s: %s", entry.name, error, extra={"fields": {"phase": entry.phase}})
            return
        if entry in self._entries:  # else it was removed meanwhile
            self._admit(entry, spec)

    async def _read(self, entry: _Entry) -> ModelSpec:
        """Unpack an archive, install what it requires and read how it is to be run."""
        registration = entry.registration
        unpacked = await asyncio.to_thread(unpack, registration.archive, self._directory)
        if unpacked.directory.is_relative_to(self._directory):
            entry.directory = unpacked.directory
        packages = await self._install(entry, unpacked)
        entry.phase = Phase.CONFIGURING
        spec = await asyncio.to_thread(spec_of, registration, unpacked, packages)
        config, warnings = resolved(spec.config, self._devices.count)
        for warning in warnings:
            _log.warning("model %s %s: %s", spec.name, spec.version, warning)
        return replace(spec, config=config)

    async def _install(self, entry: _Entry, unpacked: Unpacked) -> Path | None:
        """Install the archive's requirements, if it has any and they are wanted; return where."""
        file, cache = unpacked.manifest.requirements_file, entry.registration.packages_cache
        if file is None:
            return None
        if cache is None:
            _log.warning("model %s: %s is not installed: install_py_dep_per_model is false", entry.name, file)
            return None
        entry.phase = Phase.INSTALLING
        told = await asyncio.to_thread(read_model_config, unpacked.directory, unpacked.manifest)
        entry.packages = await install_requirements(unpacked.directory, file, cache, venv=told.get("useVenv") is True)
        return entry.packages.directory

    def _check_is_new(self, spec: ModelSpec) -> None:
        if spec.version in self._models.get(spec.name, {}):
            raise Conflict(f"Model version {spec.version} is already registered for model {spec.name}")

    def _admit(self, entry: _Entry, spec: ModelSpec) -> LoadedModel:
        """Put a model that is new into the table and start its workers."""
        entry.phase = Phase.LOADING
        entry.model = model = self._opened(spec, entry.registration.origin)
        self._models.setdefault(model.name, {})[model.version] = model
        self._index()
        model.pool.start()
        return model

    def _opened(self, spec: ModelSpec, origin: Origin) -> LoadedModel:
        """Return a model whose workers are not started yet, and whose measurements are heard."""
        if self._metrics is None:
            return LoadedModel(spec, self._starter, origin, self._devices)
        model = LoadedModel(replace(spec, declared_metrics=self._metrics.declared_for_workers), self._starter, origin, self._devices)
        model.pool.on_metrics = self._metrics.take_updates
        model.pool.on_loaded = self._metrics.worker_loaded
        return model

    def _entry_to_remove(self, name: str, version: str | None) -> _Entry:
        model = self._found.get((name, version))
        if model is None:
            for entry in self._entries:
                if entry.model is None and entry.error is not None and version is None and self._is_called(entry, name):
                    return entry  # a registration that failed: all there is of it is its error
            raise self._why_not(name, version)
        if model.origin is Origin.WORKFLOW:
            raise Conflict(f"model {model.name} is a node of a workflow", hint="unregister the workflow, with DELETE /workflows/NAME")
        if self._found[model.name, None] is model and len(self._models[model.name]) > 1:
            raise Denied(
                f"Cannot remove default version for model {model.name}",
                hint="make another version the default first, with PUT /models/NAME/VERSION/set-default",
                reason="InvalidModelVersion",
            )
        return next(entry for entry in self._entries if entry.model is model)

    def _entry_of(self, registration: Registration) -> _Entry:
        for entry in self._entries:
            if entry.registration is registration:
                return entry
        raise NotFound(f"model {registration.name or registration.url} was removed meanwhile", reason="ModelNotFound")

    async def _end(self, entry: _Entry, grace_seconds: float) -> None:
        self._entries.remove(entry)
        if entry.model is not None:
            del self._models[entry.model.name][entry.model.version]
            self._tidy()
            self._index()
        await self._let_go(entry, grace_seconds)

    def _tidy(self) -> None:
        """Forget names without versions, and choices of versions that have gone."""
        self._models = {name: versions for name, versions in self._models.items() if versions}
        self._chosen = {name: version for name, version in self._chosen.items() if version in self._models.get(name, {})}

    async def _let_go(self, entry: _Entry, grace_seconds: float) -> None:
        """Have a model that is no longer in the table answer what it had accepted, then end its workers and remove its files."""
        if entry.model is not None:
            self._leaving.add(entry.model)
            await entry.model.close(grace_seconds)
            self._leaving.discard(entry.model)
        await asyncio.to_thread(_discard, entry)

    def _index(self) -> None:
        """Make the look-up table of requests anew."""
        found: dict[tuple[str, str | None], LoadedModel] = {}
        for name, version in self._chosen.items():
            found[name, None] = self._models[name][version]
        # The order of registration decides, not which archive was read first: a restart must not change the default version.
        for entry in sorted(self._entries, key=lambda entry: not entry.registration.is_default):
            if entry.model is not None:
                found[entry.model.name, entry.model.version] = entry.model
                found.setdefault((entry.model.name, None), entry.model)
        if self._alias is not None and len(self.names()) == 1 and self._alias not in self._models:
            found.update({(self._alias, version): each for (_, version), each in found.items()})
        self._found = found

    def _is_called(self, entry: _Entry, name: str) -> bool:
        return name == entry.name or (name == self._alias and len(self.names()) == 1)

    def _why_not(self, name: str, version: str | None) -> FlambeauError:
        if version is not None and name in self._models:
            there = ", ".join(self._models[name])
            return NotFound(
                f"Model version: {version} does not exist for model: {name}", hint=f"there is {there}", reason="ModelVersionNotFound"
            )
        for entry in self._entries:
            if entry.model is None and self._is_called(entry, name):
                standing = entry.standing()
                return NotReady(standing.message, reason=standing.reason)
        names = self.names()
        there = ", ".join(names[:NAMES_SHOWN_MAX]) + (f" and {len(names) - NAMES_SHOWN_MAX} more" if len(names) > NAMES_SHOWN_MAX else "")
        hint = f"the models here: {there}" if names else "no model is loaded: give --models or model_snapshot, or register one"
        return NotFound(f"Model not found: {name}", hint=hint, reason="ModelNotFound")


def spec_of(registration: Registration, unpacked: Unpacked, packages: Path | None) -> ModelSpec:
    """Return what workers need to load a model. Reads model-config.yaml.

    A folder that has no manifest, but a model file of a known format, is run by our own handler for that.

    Raises:
        InvalidInput: no handler is named anywhere, or the YAML cannot be read.
    """
    manifest = registration.manifest or unpacked.manifest
    named = registration.handler or manifest.handler or registration.default_handler
    if named is None and not manifest.document and found_in(unpacked.directory):
        manifest = replace(manifest_of_model(unpacked.directory, None), model_name=None)
    name = registration.name or manifest.model_name or name_of_archive(registration.archive)
    handler = registration.handler or manifest.handler or registration.default_handler
    if handler is None:
        raise InvalidInput(
            f"archive {registration.url} names no handler",
            hint="give --handler to torch-model-archiver, or default_service_handler in config.properties",
        )
    config_yaml = read_model_config(unpacked.directory, manifest)
    config, warnings = registration.configure(name, manifest.model_version, config_yaml)
    for warning in warnings:
        _log.warning("model %s %s: %s", name, manifest.model_version, warning)
    interpreter = interpreter_in(packages) if packages is not None else None
    return ModelSpec(
        name=name,
        version=manifest.model_version,
        directory=unpacked.directory,
        url=registration.url,
        handler=handler,
        manifest={**manifest.document, "runtime": registration.runtime} if registration.runtime else manifest.document,
        envelope=registration.envelope,
        config=config,
        yaml=config_yaml,
        limit_max_image_pixels=registration.limit_image_pixels,
        decode_input=registration.decode_input,
        packages=None if interpreter else packages,
        interpreter=interpreter,
    )


def _discard(entry: _Entry) -> None:
    """Remove what a registration has on this disk."""
    if entry.directory is not None:
        shutil.rmtree(entry.directory, ignore_errors=True)
    if entry.registration.downloaded:
        entry.registration.archive.unlink(missing_ok=True)
    if entry.packages is not None:
        entry.packages.release()
