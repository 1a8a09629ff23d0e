"""The model server's process: doors, models and workers, from the first import to the last worker's end.

Started by ``flambeau serve`` and ``torchserve``. Doors open before models are loaded, so that a prober can be told why it has to wait. It
stops in the reverse order: not ready, no new connections, what was accepted is answered, workers end, nothing is left running.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from flambeau.foundation import http1
from flambeau.foundation.errors import FlambeauError, Unavailable
from flambeau.foundation.memory import keep_freed_memory
from flambeau.foundation.open_files import allow_open_files
from flambeau.foundation.scheduling import take_short_turns
from flambeau.foundation.tasks import TaskOwner
from flambeau.programs.folder import with_folder, with_folders_model
from flambeau.programs.grpc_doors import GrpcDoors
from flambeau.programs.reload import Reloader, WholeStore
from flambeau.programs.runtime import runtime_flags, with_runtime_model
from flambeau.programs.server_logs import ServerLogs
from flambeau.programs.settings.models import StartupModel, config_merger, wish_merger
from flambeau.programs.settings.mounts import parse_mounts
from flambeau.programs.settings.server import (
    TERMINATION_LOG_VARIABLE,
    Address,
    DoorSettings,
    Flags,
    ServerSettings,
    load_settings,
    read_values,
)
from flambeau.programs.settings.show import config_table
from flambeau.programs.snapshots import Snapshots
from flambeau.programs.tls import server_context
from flambeau.serving.archive.source import ArchiveSource
from flambeau.serving.dataplane import DataPlane
from flambeau.serving.frontends.http import HttpFrontend
from flambeau.serving.frontends.routes import Plane
from flambeau.serving.frontends.tokens import Tokens
from flambeau.serving.management import Management, Wish
from flambeau.serving.metrics.declared import Mode
from flambeau.serving.metrics.host import HostMeter
from flambeau.serving.metrics.server import ModelReading, ServerMetrics
from flambeau.serving.repository import Origin, Registration, Repository
from flambeau.serving.workers.devices import Devices
from flambeau.serving.workers.launcher import why_not
from flambeau.serving.workers.starter import ForkStarter
from flambeau.serving.workflow.registry import Workflows

if TYPE_CHECKING:
    from flambeau.serving.frontends.grpc_frontend import GrpcFrontend

_log = logging.getLogger(__name__)

DRAIN_SECONDS_MAX = 120.0
"""After SIGTERM, what was accepted may take this long; a second signal cuts it short."""
END_SECONDS = 1.0
"""After the drain nobody waits for what a worker still works on; it may take this long before it is killed."""
TERMINATION_LOG_BYTES_MAX = 4_096
"""As Kubernetes keeps of a termination message."""


_DIRECTORY_PREFIX = "flambeau-models-"
"""Then the server's pid and what makes it unique."""


def run(flags: Flags, *, on_started: Callable[[], None] = lambda: None) -> int:
    """Run the server until a signal ends it.

    Args:
        flags: the command line.
        on_started: called when the doors are open.

    Returns:
        The exit status: 0 after a signal, 1 if it could not start; the reason is then on standard error and in
        FLAMBEAU_TERMINATION_LOG.
    """

    def settings() -> ServerSettings:
        completed = with_folder(flags)
        return with_folders_model(load_settings(completed, os.environ, directory=Path.cwd()), completed.folder)

    return _run(settings, on_started, reloads=flags.reload)


def run_runtime(words: Sequence[str], *, on_started: Callable[[], None] = lambda: None) -> int:
    """Run the server as one of KServe's runtimes.

    Args:
        words: the runtime and its flags.
        on_started: called when the doors are open.

    Returns:
        The exit status, as ``run`` does.
    """

    def settings() -> ServerSettings:
        flags, model = runtime_flags(words, os.environ)
        return with_runtime_model(load_settings(flags, os.environ, directory=Path.cwd()), model)

    return _run(settings, on_started)


def _run(read_settings: Callable[[], ServerSettings], on_started: Callable[[], None], *, reloads: bool = False) -> int:
    logs: ServerLogs | None = None
    try:
        settings = read_settings()
        allow_open_files()
        if reloads:
            # A second edit within a second, of the same length, would be taken for the first one's bytecode.
            os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
        logs = ServerLogs(settings.logs)
        logs.open()
        for note in settings.notes:
            _log.warning("%s", note)
        keep_freed_memory()
        take_short_turns()
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            runner.run(ModelServer(settings, logs, reloads=reloads).serve(on_started))
    except FlambeauError as error:
        _tell_why(error)
        return 1
    finally:
        if logs is not None:
            logs.close()
    return 0


def show_config(flags: Flags) -> int:
    """Print every setting with its value and source; return the exit status."""
    try:
        values = read_values(with_folder(flags), os.environ, parse_mounts(os.environ), directory=Path.cwd())
    except FlambeauError as error:
        print(error, file=sys.stderr)
        return 1
    rows = config_table(values)
    key_width = max(len(key) for key, _, _ in rows)
    value_width = min(48, max(len(value) for _, value, _ in rows))
    for key, value, source in rows:
        print(f"{key:<{key_width}}  {value:<{value_width}}  {source}")
    for warning in values.warnings:
        print(f"warning: {warning}", file=sys.stderr)
    return 0


class ModelServer:
    """One server: what it starts, it ends.

    Args:
        settings: everything it is told.
        logs: where lines of requests and metrics go.
        reloads: whether models of the start are loaded anew when their files change.
    """

    def __init__(self, settings: ServerSettings, logs: ServerLogs, *, reloads: bool = False) -> None:
        self._settings = settings
        self._logs = logs
        self._reloads = reloads
        os.environ.update(settings.models.worker_variables)
        self._starter = ForkStarter(
            hidden_variables=settings.models.hidden_variables, launcher_arguments=_launcher_that_runs(settings.models.launcher_arguments)
        )
        self._listeners: list[http1.Server] = []
        self._agents_frontend: HttpFrontend | None = None

    async def serve(self, on_started: Callable[[], None]) -> None:
        """Start, wait for SIGTERM or SIGINT, stop.

        Raises:
            Unavailable: an address cannot be bound, or there is no room to unpack; what was started is ended again.
        """
        signals = _Signals()
        # First, so that its imports run while archives are unpacked.
        if self._starter.launcher_arguments is None:
            self._starter.begin()
        try:
            directory = await asyncio.to_thread(fresh_directory, Path(tempfile.gettempdir()))
            try:
                await self._serve_from(directory, signals, on_started)
            finally:
                await asyncio.to_thread(shutil.rmtree, directory, ignore_errors=True)
        finally:
            await self._starter.close()

    async def _serve_from(self, directory: Path, signals: _Signals, on_started: Callable[[], None]) -> None:
        metrics = self._metrics(lambda: [model.reading() for model in repository.models()])
        models = self._settings.models
        repository = Repository(
            directory / "models",
            self._starter,
            alias=self._settings.doors.service_name,
            metrics=metrics,
            devices=Devices(models.gpu_count),
        )
        dataplane = DataPlane(repository, is_starting=True)
        snapshots = Snapshots(self._settings.snapshots, self._settings.values, models.store, repository)
        archives = ArchiveSource(models.store, models.allowed, models.aws_keys)
        management = Management(
            repository,
            archives,
            self._wished,
            unregister_seconds=models.unregister_seconds,
            on_change=lambda: snapshots.save("snapshot"),
        )
        workflows = Workflows(
            repository,
            dataplane,
            metrics,
            directory=directory / "workflows",
            source=ArchiveSource(models.workflow_store, models.allowed, models.aws_keys, what="Workflow"),
            models=archives,
            register=self._wished,
            unregister_seconds=models.unregister_seconds,
        )
        tokens = Tokens(self._settings.doors.keys) if self._settings.doors.keys is not None else None
        frontend = self._frontend(dataplane, management, workflows, metrics, tokens)
        grpc_doors = self._grpc_doors(frontend, management)
        tasks = TaskOwner("model server")
        try:
            if tokens is not None:
                tokens.start()
                self._tell_of_keys()
            await self._open_doors(frontend)
            await self._open_agents_door(frontend, repository, workflows)
            registrations = self._registrations()
            for registration in registrations:
                repository.register(registration)
            dataplane.start_being_ready()
            await grpc_doors.open()
            if self._reloads:
                tasks.start("reload", Reloader(repository, registrations, self._whole_store()).run())
            if self._settings.metrics.measures_host:
                tasks.keep("host metrics", HostMeter(self._settings.metrics.interval_seconds, metrics.take_host).run)
            tasks.start("startup snapshot", _save_when_read(repository, snapshots))
            await asyncio.to_thread(self._logs.flush)  # whoever waits for the next line reads the doors' addresses above it
            print("Model server started.", flush=True)
            on_started()
            gc.freeze()  # what is there now stays; collections need not walk it
            await signals.first.wait()
            _log.info("stopping: finishing what was accepted")
            dataplane.stop_being_ready()
            await self._drain(grpc_doors, signals.second)
            await snapshots.save("shutdown")
        finally:
            await tasks.close()
            for listener in self._listeners:
                await listener.close()
            await grpc_doors.drain(0)
            if self._agents_frontend is not None:
                await self._agents_frontend.close()
            await frontend.close()  # a registration that still runs ends here, before the repository that it changes
            await repository.stop(END_SECONDS)
            if tokens is not None:
                tokens.close()

    def _frontend(
        self, dataplane: DataPlane, management: Management, workflows: Workflows, metrics: ServerMetrics, tokens: Tokens | None
    ) -> HttpFrontend:
        doors = self._settings.doors
        return HttpFrontend(
            dataplane,
            management,
            metrics,
            access_log=self._logs.access_log(),
            request_bytes_max=doors.request_bytes_max,
            model_api=doors.model_api,
            workflows=workflows,
            tokens=tokens,
            cors=doors.cors,
            transforms_max=doors.transforms_max,
            openai_prefix=doors.openai_prefix,
        )

    def _grpc_doors(self, front: HttpFrontend, management: Management) -> GrpcDoors:
        doors, defaults = self._settings.doors, self._settings.models.defaults

        def frontend() -> GrpcFrontend:
            from flambeau.serving.frontends.grpc_frontend import GrpcFrontend  # noqa: PLC0415 - it imports grpc and protobuf

            return GrpcFrontend(
                front.dataplane,
                management,
                front.metrics,
                access_log=front.access_log,
                tokens=front.tokens,
                model_api=doors.model_api,
                models=defaults,
            )

        return GrpcDoors(
            doors.grpc,
            doors.tls,
            frontend,
            request_bytes_max=doors.request_bytes_max,
            response_bytes_max=defaults.response_bytes_max,
        )

    def _metrics(self, read_models: Callable[[], list[ModelReading]]) -> ServerMetrics:
        settings = self._settings.metrics
        if settings.mode is Mode.PROMETHEUS:
            return ServerMetrics(read_models, settings, read_log_drops=self._logs.dropped)
        server_line, model_line = self._logs.metric_lines()
        return ServerMetrics(read_models, settings, server_line=server_line, model_line=model_line, read_log_drops=self._logs.dropped)

    def _registrations(self) -> list[Registration]:
        models = self._settings.models
        origin = Origin.SNAPSHOT if models.from_snapshot else Origin.STARTUP
        return [self._registration(model, path, origin) for model, path in models.startup]

    def _whole_store(self) -> WholeStore | None:
        """Return the model store if everything in it is served."""
        store = self._settings.models.store
        if self._settings.models.from_snapshot or self._settings.values["load_models"].text.strip().lower() != "all":
            return None
        return WholeStore(store, lambda name: self._registration(StartupModel(name), store / name, Origin.REQUEST))

    def _registration(self, model: StartupModel, path: Path, origin: Origin) -> Registration:
        models = self._settings.models
        return Registration(
            archive=path,
            url=model.archive,
            configure=config_merger(models.defaults, models.by_model, model.overrides),
            name=model.name,
            manifest=model.manifest,
            origin=origin,
            is_default=model.is_default,
            default_handler=models.default_handler,
            envelope=models.envelope,
            limit_image_pixels=models.limit_image_pixels,
            decode_input=models.decode_input,
            packages_cache=models.packages_cache,
        )

    def _wished(self, wish: Wish, archive: Path) -> Registration:
        """Return the registration of a model that was wished for over the API."""
        models = self._settings.models
        workers = models.registered_workers if wish.initial_workers is None else wish.initial_workers
        weak = {
            "response_timeout_seconds": wish.response_timeout_seconds,
            "startup_timeout_seconds": wish.startup_timeout_seconds,
            "min_workers": wish.initial_workers,
            "max_workers": wish.initial_workers,
        }
        strong = {"batch_size": wish.batch_size, "max_batch_delay_ms": wish.max_batch_delay_ms}
        configure = wish_merger(
            replace(models.defaults, min_workers=workers, max_workers=workers),
            models.by_model,
            weak={name: value for name, value in weak.items() if value is not None},
            strong={name: value for name, value in strong.items() if value is not None},
        )
        return Registration(
            archive=archive,
            url=wish.url,
            configure=configure,
            name=wish.name,
            handler=wish.handler,
            runtime=wish.runtime,
            origin=Origin.REQUEST,
            default_handler=models.default_handler,
            envelope=models.envelope,
            limit_image_pixels=models.limit_image_pixels,
            decode_input=models.decode_input,
            packages_cache=models.packages_cache,
        )

    def _tell_of_keys(self) -> None:
        keys = self._settings.doors.keys
        if keys is not None and not keys.given:
            fields = {"fields": {"keys": keys.file, "without": "--disable-token-auth"}}
            _log.info("requests need a key: Authorization: Bearer KEY", extra=fields)

    async def _open_doors(self, frontend: HttpFrontend) -> None:
        doors = self._settings.doors
        context = server_context(doors.tls) if doors.tls is not None else None
        for address, planes in doors_of(doors).items():
            listener = http1.Server(frontend.door(planes))
            self._listeners.append(listener)
            if address.unix_path is not None:
                await listener.start_unix(address.unix_path)
            else:
                try:
                    host, port = await listener.start(host=address.host, port=address.port, ssl=context if address.tls else None)
                except Unavailable as error:
                    raise _with_its_setting(error, planes) from error
                address = replace(address, host=host, port=port)  # noqa: PLW2901 - port 0 became a real one
            serves = ",".join(sorted(plane.name.lower() for plane in planes))
            _log.info("door open", extra={"fields": {"address": address, "serves": serves}})
            if Plane.MANAGEMENT in planes and not address.is_loopback and doors.keys is None:
                _log.warning("%s serves management to the network, without authorization; bind management_address to 127.0.0.1", address)

    async def _open_agents_door(self, front: HttpFrontend, repository: Repository, workflows: Workflows) -> None:
        """Let a pod's agent bring models while the server runs, whatever the other doors allow: the socket is this user's alone."""
        door = self._settings.doors.more_models
        if door is None:
            return
        management = Management(
            repository,
            ArchiveSource(door.store),
            self._wished,
            unregister_seconds=self._settings.models.unregister_seconds,
            on_change=_nothing,  # the agent knows what there is to be; a snapshot would name archives that are in no model store
        )
        self._agents_frontend = HttpFrontend(
            front.dataplane,
            management,
            front.metrics,
            access_log=None,
            request_bytes_max=front.request_bytes_max,
            model_api=True,
            workflows=workflows,
        )
        listener = http1.Server(self._agents_frontend.door(frozenset({Plane.MANAGEMENT})))
        self._listeners.append(listener)
        await listener.start_unix(door.socket)

    async def _drain(self, grpc_doors: GrpcDoors, hurry: asyncio.Event) -> None:
        """Stop accepting and finish what was accepted, bounded; a second signal cuts it short."""
        listeners: list[http1.Server | GrpcDoors] = [*self._listeners, grpc_doors]
        draining = asyncio.gather(*(listener.drain(DRAIN_SECONDS_MAX) for listener in listeners))
        hurrying = asyncio.ensure_future(hurry.wait())
        await asyncio.wait((draining, hurrying), return_when=asyncio.FIRST_COMPLETED)
        for left in (draining, hurrying):
            left.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await left


async def _nothing() -> None:
    return None


async def _save_when_read(repository: Repository, snapshots: Snapshots) -> None:
    await repository.wait_read()
    await snapshots.save("startup")


class _Signals:
    """SIGTERM and SIGINT as events."""

    def __init__(self) -> None:
        self.first = asyncio.Event()
        self.second = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._received)

    def _received(self) -> None:
        (self.second if self.first.is_set() else self.first).set()


def _launcher_that_runs(arguments: tuple[str, ...] | None) -> tuple[str, ...] | None:
    """Return the launcher's arguments; None, with a warning, where it can't run."""
    lacks = why_not() if arguments is not None else None
    if lacks is not None:
        _log.warning("cpu_launcher_enable has no effect: %s; workers are not bound to cores", lacks)
    return None if lacks is not None else arguments


def fresh_directory(parent: Path) -> Path:
    """Make this server's folder for unpacked archives, and remove those of servers that were killed and could not.

    Raises:
        Unavailable: the folder cannot be made.
    """
    for left in parent.glob(f"{_DIRECTORY_PREFIX}*"):
        pid = left.name.removeprefix(_DIRECTORY_PREFIX).partition("-")[0]
        if pid.isdecimal() and not psutil.pid_exists(int(pid)):
            shutil.rmtree(left, ignore_errors=True)
    try:
        return Path(tempfile.mkdtemp(prefix=f"{_DIRECTORY_PREFIX}{os.getpid()}-", dir=parent))
    except OSError as error:
        raise Unavailable(f"cannot make a folder for models in {parent}: {error.strerror}", hint="point TMPDIR at another disk") from error


def _with_its_setting(error: Unavailable, planes: frozenset[Plane]) -> Unavailable:
    """Return the error of an address that cannot be bound, which names the settings that choose it."""
    settings = " and ".join(f"{plane.name.lower()}_address" for plane in sorted(planes, key=lambda plane: plane.value))
    hint = f"stop the process that has it, or set {settings} in config.properties (--ts-config)"
    return Unavailable(error.message, hint=hint, reason=error.reason) if error.reason == "AddressInUse" else error


def doors_of(settings: DoorSettings) -> dict[Address, frozenset[Plane]]:
    """Return what each address serves; equal addresses are one listener."""
    wanted = [
        (settings.inference, {Plane.INFERENCE}),
        (settings.management, {Plane.MANAGEMENT}),
        (settings.metrics, {Plane.METRICS}),
        (settings.kserve, {Plane.INFERENCE, Plane.METRICS} if settings.metrics else {Plane.INFERENCE}),
    ]
    doors: dict[Address, frozenset[Plane]] = {}
    for address, planes in wanted:
        if address is not None:
            doors[address] = doors.get(address, frozenset()) | planes
    if settings.metrics is not None and settings.inference == settings.management:
        doors[settings.inference] |= {Plane.METRICS}  # KServe's layout: one door has everything, as in TorchServe
    return doors


def _tell_why(error: FlambeauError) -> None:
    """Say why the server ends: on standard error, and where the agent looks."""
    print(f"flambeau: {error}", file=sys.stderr, flush=True)
    path = os.environ.get(TERMINATION_LOG_VARIABLE)
    if path:
        try:
            Path(path).write_bytes(str(error).encode()[:TERMINATION_LOG_BYTES_MAX])
        except OSError as problem:
            _log.warning("cannot write %s: %s", path, problem)


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """Return uvloop's loops where it is installed: twice as fast on the hot path, measured."""
    try:
        import uvloop  # noqa: PLC0415 - not on every platform
    except ImportError:
        return None
    return uvloop.new_event_loop
