"""Name and version -> loaded model.

Every registration is unpacked, configured and loaded in a task of its own; what fails is kept with its phase and cause, and the other
models serve. Doors reach it through ``dataplane``; it makes no process itself but asks for a WorkerPool.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import yaml

from flambeau.foundation.errors import Conflict, FlambeauError, InvalidInput, NotFound, NotReady, TooLarge
from flambeau.foundation.tasks import TaskOwner
from flambeau.serving.archive.manifest import Manifest
from flambeau.serving.archive.requirements import Packages, install_requirements
from flambeau.serving.archive.unpack import Unpacked, unpack
from flambeau.serving.batching.queue import ModelQueue
from flambeau.serving.model import ModelConfig, ModelSpec
from flambeau.serving.workers.pool import WorkerPool
from flambeau.serving.workers.starter import FreshStarter, Starter

_log = logging.getLogger(__name__)

YAML_BYTES_MAX = 1_048_576
"""A model-config.yaml above this is refused unread."""
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


@dataclass(frozen=True, slots=True)
class Registration:
    """What is to be served."""

    archive: Path
    url: str
    """As the user named it: ``mnist.mar``."""
    configure: Configure
    name: str | None = None
    """Overrides the manifest's."""
    is_default: bool = False
    """Unversioned requests go to this version, whichever is loaded first."""
    default_handler: str | None = None
    """Where the manifest names none."""
    envelope: str | None = None
    limit_image_pixels: bool = True
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


class LoadedModel:
    """One model version whose archive was read; its workers may still be loading.

    Args:
        spec: what the workers load.
        starter: where worker processes come from.
    """

    def __init__(self, spec: ModelSpec, starter: Starter) -> None:
        self.spec = spec
        self.name = spec.name
        self.version = spec.version
        # A fork of the fork server has its packages imported already; other versions of them need a fresh interpreter.
        self.pool = WorkerPool(spec, FreshStarter() if spec.packages else starter)
        self.queue = ModelQueue(spec, self.pool)

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

    @property
    def name(self) -> str:
        """The model's name as far as it is known."""
        return self.model.name if self.model is not None else self.registration.name or name_of_archive(self.registration.archive)

    def standing(self) -> Standing:
        """Return how it stands."""
        model = self.model
        if model is None:
            if self.error is not None:
                return Standing(self.name, self.phase, False, True, self.error.reason, f"cannot load model {self.name}: {self.error}")
            return Standing(self.name, self.phase, False, False, "ModelLoading", f"model {self.name} is not loaded yet: {self.phase}")
        label = f"{model.name} {model.version}"
        if model.pool.ready:
            return Standing(label, Phase.READY, True)
        failure = model.pool.failure()
        if failure is None:
            return Standing(
                label, Phase.LOADING, False, reason="ModelLoading", message=f"model {label} is not loaded yet: workers are starting"
            )
        reason = "WorkerDied" if failure.phase == "answer" else "ModelLoadFailed"
        return Standing(label, Phase.LOADING, False, True, reason, str(failure), failure.log_tail)


class Repository:
    """Keep models.

    Args:
        directory: archives are unpacked below it.
        starter: where worker processes come from.
        alias: a second name for the model, if there is only one (INFERENCE_SERVICE_NAME).
    """

    def __init__(self, directory: Path, starter: Starter, *, alias: str | None = None) -> None:
        self._directory = directory
        self._starter = starter
        self._alias = alias
        self._entries: list[_Entry] = []
        self._models: dict[str, dict[str, LoadedModel]] = {}
        # (name, version or None) -> model: one look-up a request; made anew when a model comes.
        self._found: dict[tuple[str, str | None], LoadedModel] = {}
        self._packages: list[Packages] = []
        self._tasks = TaskOwner("repository")

    def register(self, registration: Registration) -> None:
        """Begin to load a model; returns at once, ``standings`` says how it goes."""
        entry = _Entry(registration)
        self._entries.append(entry)
        self._tasks.start(f"load {entry.name}", self._load(entry))

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
        """Return the names of all models, loaded or on their way, sorted."""
        return sorted({entry.name for entry in self._entries})

    def models(self) -> list[LoadedModel]:
        """Return every model whose archive was read."""
        return [model for versions in self._models.values() for model in versions.values()]

    def versions(self, name: str) -> list[LoadedModel]:
        """Return the versions of a model, in the order in which they were read."""
        model = self._found.get((name, None))
        return list(self._models[model.name].values()) if model is not None else []

    async def stop(self, grace_seconds: float) -> None:
        """End every model and its workers; what they work on may take the grace. May be called once."""
        await self._tasks.close()
        await asyncio.gather(*(model.close(grace_seconds) for model in self.models()))
        for packages in self._packages:
            packages.release()

    async def _load(self, entry: _Entry) -> None:
        """Take one registration from its archive to its workers; keep what goes wrong with it."""
        registration = entry.registration
        try:
            unpacked = await asyncio.to_thread(unpack, registration.archive, self._directory)
            packages = await self._install(entry, unpacked)
            entry.phase = Phase.CONFIGURING
            spec = await asyncio.to_thread(spec_of, registration, unpacked, packages)
            if spec.version in self._models.get(spec.name, {}):
                raise Conflict(f"Model version {spec.version} is already registered for model {spec.name}")
        except FlambeauError as error:
            entry.error = error
            _log.error("cannot load model %s: %s", entry.name, error, extra={"fields": {"phase": entry.phase}})
            return
        entry.phase = Phase.LOADING
        entry.model = LoadedModel(spec, self._starter)
        self._add(entry.model)
        entry.model.pool.start()

    async def _install(self, entry: _Entry, unpacked: Unpacked) -> Path | None:
        """Install the archive's requirements, if it has any and they are wanted; return where."""
        file, cache = unpacked.manifest.requirements_file, entry.registration.packages_cache
        if file is None:
            return None
        if cache is None:
            _log.warning("model %s: %s is not installed: install_py_dep_per_model is false", entry.name, file)
            return None
        entry.phase = Phase.INSTALLING
        packages = await install_requirements(unpacked.directory, file, cache)
        self._packages.append(packages)
        return packages.directory

    def _add(self, model: LoadedModel) -> None:
        self._models.setdefault(model.name, {})[model.version] = model
        found: dict[tuple[str, str | None], LoadedModel] = {}
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
        hint = f"the models here: {there}" if names else "no model is loaded: give --models or model_snapshot"
        return NotFound(f"Model not found: {name}", hint=hint, reason="ModelNotFound")


def spec_of(registration: Registration, unpacked: Unpacked, packages: Path | None) -> ModelSpec:
    """Return what workers need to load a model. Reads model-config.yaml.

    Raises:
        InvalidInput: no handler is named anywhere, or the YAML cannot be read.
    """
    manifest = unpacked.manifest
    name = registration.name or manifest.model_name or name_of_archive(registration.archive)
    handler = manifest.handler or registration.default_handler
    if handler is None:
        raise InvalidInput(
            f"archive {registration.url} names no handler",
            hint="give --handler to torch-model-archiver, or default_service_handler in config.properties",
        )
    config_yaml = read_model_config(unpacked.directory, manifest)
    config, warnings = registration.configure(name, manifest.model_version, config_yaml)
    for warning in warnings:
        _log.warning("model %s %s: %s", name, manifest.model_version, warning)
    return ModelSpec(
        name=name,
        version=manifest.model_version,
        directory=unpacked.directory,
        url=registration.url,
        handler=handler,
        manifest=manifest.document,
        envelope=registration.envelope,
        config=config,
        yaml=config_yaml,
        limit_max_image_pixels=registration.limit_image_pixels,
        packages=packages,
    )


def read_model_config(directory: Path, manifest: Manifest) -> dict[str, Any]:
    """Return an archive's model-config.yaml; empty if it has none.

    Raises:
        InvalidInput: it is named but missing, too large or no YAML object; the text says where.
    """
    if manifest.config_file is None:
        return {}
    path = directory / manifest.config_file
    if not path.is_file():
        raise InvalidInput(f"the archive names {manifest.config_file} as its config, but does not hold it")
    if path.stat().st_size > YAML_BYTES_MAX:
        raise TooLarge(f"{manifest.config_file} is over {YAML_BYTES_MAX} bytes")
    try:
        found = yaml.safe_load(path.read_bytes())
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InvalidInput(f"{manifest.config_file} is not YAML: {' '.join(str(error).split())}") from error
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise InvalidInput(f"{manifest.config_file} must hold keys and values, not a {type(found).__name__}")
    return found


def name_of_archive(archive: Path) -> str:
    """Return the name that TorchServe gives a model whose manifest has none."""
    return re.sub(r"\W", "_", archive.name.rpartition(".")[0] or archive.name)
