"""The model server's settings, frozen: what the doors, the models and the program are told.

``load_settings`` is called once at the start, by ``programs.model_server``; nothing else in the server reads flags, environment or
config.properties.
"""

from __future__ import annotations

import os
import re
import shlex
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import urlsplit

from flambeau.foundation.errors import InvalidInput, NotFound
from flambeau.foundation.files import is_safe_relative
from flambeau.programs.settings.access import (
    TlsFiles,
    allowed_addresses,
    aws_keys,
    check_open_management,
    cors_headers,
    is_loopback,
    key_settings,
    tls_files,
)
from flambeau.programs.settings.grpc import GrpcSettings, grpc_settings
from flambeau.programs.settings.logs import LogSettings, log_settings
from flambeau.programs.settings.metrics import metrics_settings
from flambeau.programs.settings.models import (
    Overrides,
    StartupModel,
    models_from_list,
    models_from_snapshot,
    overrides_by_model,
)
from flambeau.programs.settings.mounts import POD_ADDRESS_VARIABLE, Mounts, bind_host, parse_mounts
from flambeau.programs.settings.properties import FILE_BYTES_MAX, PropertiesFile, parse_properties
from flambeau.programs.settings.snapshot import snapshot_directory, snapshot_to_restore
from flambeau.programs.settings.sources import Value, Values, effective_values
from flambeau.serving.archive.allowed_address import AllowedAddress
from flambeau.serving.archive.aws_signature import AwsKeys
from flambeau.serving.frontends.routes import OPENAI_PREFIX
from flambeau.serving.frontends.tokens import KeySettings
from flambeau.serving.metrics.declared import MetricsSettings
from flambeau.serving.model import ModelConfig, SequenceHeaders
from flambeau.serving.workers.devices import nvidia_gpus

CONFIG_FILE_VARIABLE = "TS_CONFIG_FILE"
TERMINATION_LOG_VARIABLE = "FLAMBEAU_TERMINATION_LOG"
MODELS_DOOR_VARIABLE = "FLAMBEAU_MODELS_DOOR"
MORE_MODELS_VARIABLE = "FLAMBEAU_MORE_MODELS"
OPENAI_PREFIX_VARIABLE = "KSERVE_OPENAI_ROUTE_PREFIX"
POD_MANAGEMENT_PORT = 8085
"""In a pod, where ``management_address`` is not set: as in KServe's example; one more where predictions are served there."""
KSERVE_PORT = 8080
"""Where KServe expects a runtime's door when PORT says nothing else."""
NAMES_SHOWN_MAX = 10
"""So many archive names stand in an error message."""

_DEFAULT_PORTS = {
    "inference_address": {"http": 80, "https": 443},
    "management_address": {"http": 8081, "https": 8444},
    "metrics_address": {"http": 8082, "https": 8445},
}


@dataclass(frozen=True, slots=True)
class Flags:
    """What the command line says; None and empty mean not given."""

    model_store: str | None = None
    models: tuple[str, ...] = ()
    ts_config: str | None = None
    workflow_store: str | None = None
    no_config_snapshots: bool = False
    disable_token_auth: bool = False
    enable_model_api: bool = False
    log_config: str | None = None
    look_alike: bool = False
    """The server was started as ``torchserve``: its log files are expected."""
    without_effect: tuple[str, ...] = ()
    """Flags that were given and mean nothing without Java."""
    folder: Path | None = None
    """``flambeau serve DIR``: one model's folder, or a model store."""
    reload: bool = False
    """Load models anew when their files change."""
    keys: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    """What flags of another server mean: key -> (value, the flag's spelling)."""

    def as_keys(self) -> dict[str, tuple[str, str]]:
        """Return the keys these flags set: key -> (value, the flag's spelling)."""
        keys = dict(self.keys)
        if self.model_store is not None:
            keys["model_store"] = (self.model_store, "--model-store")
        if self.workflow_store is not None:
            keys["workflow_store"] = (self.workflow_store, "--workflow-store")
        if self.models:
            keys["load_models"] = (",".join(self.models), "--models")
        if self.disable_token_auth:
            keys["disable_token_authorization"] = ("true", "--disable-token-auth")
        if self.enable_model_api:
            keys["enable_model_api"] = ("true", "--enable-model-api")
        return keys


@dataclass(frozen=True, slots=True)
class Address:
    """Where one door listens; doors with equal addresses share a listener."""

    host: str
    """Empty for a Unix socket."""
    port: int
    unix_path: Path | None = None
    tls: bool = False

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine reaches it."""
        return self.unix_path is not None or is_loopback(self.host)

    def __str__(self) -> str:
        return f"unix:{self.unix_path}" if self.unix_path else f"http{'s' if self.tls else ''}://{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class MoreModels:
    """A door for the agent alone, and the models that it brings."""

    socket: Path
    store: Path
    """What a registration at this door may name."""


@dataclass(frozen=True, slots=True)
class DoorSettings:
    """Which doors open, and what comes in."""

    inference: Address
    management: Address
    metrics: Address | None
    """None: enable_metrics_api is false."""
    kserve: Address | None
    """KServe's door, in a pod whose config has another inference port."""
    more_models: MoreModels | None = None
    """Where a pod's agent brings models while the server runs; None outside of pods."""
    request_bytes_max: int = 6_553_500
    """A body above it is answered 413."""
    model_api: bool = False
    """Whether models may be registered and unregistered over HTTP."""
    keys: KeySettings | None = None
    """Where the keys of requests come from; None: nobody needs one."""
    cors: tuple[tuple[bytes, bytes], ...] = ()
    """Headers of every answer."""
    tls: TlsFiles | None = None
    """For the doors whose address is https."""
    grpc: GrpcSettings = field(default_factory=GrpcSettings)
    transforms_max: int = 1
    """NUM_WORKERS: what SageMaker's batch transform is told of."""
    service_name: str | None = None
    """INFERENCE_SERVICE_NAME: a single model answers under this name too."""
    openai_prefix: str = OPENAI_PREFIX
    """KSERVE_OPENAI_ROUTE_PREFIX: what stands before OpenAI's paths; empty, or begins with a slash."""


@dataclass(frozen=True, slots=True)
class ModelSettings:
    """Which models are loaded at the start, and how models are run."""

    store: Path
    """The model store."""
    workflow_store: Path
    """Where workflow archives are."""
    startup: tuple[tuple[StartupModel, Path], ...]
    """Each with where its archive is; all of them were there when the settings were read."""
    defaults: ModelConfig
    from_snapshot: bool = False
    """The models of the start are a model_snapshot's."""
    gpu_count: int = 0
    """GPUs that may be used: those found, at most number_of_gpu."""
    registered_workers: int = 0
    """Of a model that is registered over the API and says nothing."""
    unregister_seconds: float = 120.0
    """What the workers of a model that goes may take for what was accepted."""
    allowed: tuple[AllowedAddress, ...] = ()
    """What registrations may download."""
    aws_keys: AwsKeys | None = None
    by_model: Mapping[tuple[str, str], Overrides] = field(default_factory=dict)
    """The ``models`` JSON, per (name, version)."""
    default_handler: str | None = None
    """For archives whose manifest names none."""
    envelope: str | None = None
    packages_cache: Path | None = None
    """Where archives' requirements are installed; None: install_py_dep_per_model is false."""
    limit_image_pixels: bool = True
    decode_input: bool = True
    launcher_arguments: tuple[str, ...] | None = None
    """Of torch's launcher for Xeon processors; None: cpu_launcher_enable is false."""
    worker_variables: Mapping[str, str] = field(default_factory=dict)
    """What handlers read of the settings in their environment."""
    hidden_variables: str = ""
    """A regular expression: variables whose whole name matches are not in the workers' environment."""


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """Everything the model server is told."""

    doors: DoorSettings
    models: ModelSettings
    metrics: MetricsSettings
    logs: LogSettings
    values: Values
    """Every key with its source, for ``--show-config``."""
    snapshots: Path | None = None
    """Where snapshots of the configuration are written; None: none is."""
    notes: tuple[str, ...] = ()
    """What was odd; each is logged once as a warning."""


def load_settings(flags: Flags, environment: Mapping[str, str], *, directory: Path) -> ServerSettings:
    """Read every source and return the settings.

    Args:
        flags: the command line.
        environment: the process's variables.
        directory: relative paths and ./config.properties are looked up here.

    Raises:
        InvalidInput: a source is malformed; the text says where.
        NotFound: a named file, the model store or a startup model isn't there.
    """
    mounts = parse_mounts(environment)
    values = read_values(flags, environment, mounts, directory=directory)
    notes = [*values.warnings, *(f"--{flag.replace('_', '-')} has no effect: there is no Java process" for flag in flags.without_effect)]
    doors = _doors(values, environment, mounts, directory)
    models, model_notes = _models(values, environment, mounts, directory)
    # A pod starts from its own config each time: a snapshot there would be lost, or in its way.
    wanted = not flags.no_config_snapshots and not environment.get(POD_ADDRESS_VARIABLE)
    snapshots = snapshot_directory(environment, directory) if wanted else None
    metrics, metrics_notes = metrics_settings(values, mounts, directory)
    logs, log_notes = log_settings(values, environment, mounts, directory, log_config=flags.log_config, look_alike=flags.look_alike)
    return ServerSettings(doors, models, metrics, logs, values, snapshots, (*notes, *model_notes, *metrics_notes, *log_notes))


def read_values(flags: Flags, environment: Mapping[str, str], mounts: Mounts, *, directory: Path) -> Values:
    """Return the winning value of every key.

    The file is TS_CONFIG_FILE, else --ts-config, else the newest snapshot (unless --ncs, or ./config.properties was changed after it),
    else ./config.properties.

    Raises:
        InvalidInput: the file is malformed or over its limit.
        NotFound: a file that was named isn't there.
    """
    named = environment.get(CONFIG_FILE_VARIABLE) or flags.ts_config
    path = _real(named, mounts, directory) if named else directory / "config.properties"
    snapshot = None
    if not named and not flags.no_config_snapshots and not environment.get(POD_ADDRESS_VARIABLE):
        snapshot = snapshot_to_restore(snapshot_directory(environment, directory), path)
    path = snapshot or path
    file, name = PropertiesFile({}, ()), named or path.name
    if named and not path.is_file():
        source = CONFIG_FILE_VARIABLE if environment.get(CONFIG_FILE_VARIABLE) else "--ts-config"
        hint = "for a model file without archive and config, set the model's runtime to flambeau-server"
        in_pod = environment.get(POD_ADDRESS_VARIABLE)
        raise NotFound(f"{source} not found: {named}", hint=hint if in_pod else None, reason="ConfigNotFound")
    if path.is_file():
        try:
            if path.stat().st_size > FILE_BYTES_MAX:
                raise InvalidInput(f"cannot read {name}: it is over {FILE_BYTES_MAX} bytes", reason="InvalidConfiguration")
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise InvalidInput(f"cannot read {name}: {error}", reason="InvalidConfiguration") from error
        file = parse_properties(text, environment, file=name)
    values = effective_values(flags=flags.as_keys(), environment=environment, file=file, file_name=name)
    if snapshot is None:
        return values
    note = f"restored from the snapshot {snapshot}: ./config.properties is not read (--ncs starts without snapshots)"
    return replace(values, warnings=(note, *values.warnings), restored=True)


def _doors(values: Values, environment: Mapping[str, str], mounts: Mounts, directory: Path) -> DoorSettings:
    pod_address = environment.get(POD_ADDRESS_VARIABLE) or None
    inference = _address(values["inference_address"], pod_address)
    management = _address(values["management_address"], pod_address)
    if pod_address and values["management_address"].source == "default":  # TorchServe's own is KServe's gRPC port
        management = replace(management, port=POD_MANAGEMENT_PORT + (inference.port == POD_MANAGEMENT_PORT))
    metrics = _address(values["metrics_address"], pod_address) if values["enable_metrics_api"].boolean() else None
    kserve = None
    if pod_address:
        port = environment.get("PORT", str(KSERVE_PORT))
        kserve = Address(pod_address, Value("PORT", port, "environment PORT").integer(least=1))
        if kserve in (inference, management, metrics):
            kserve = None
    addresses = {(address.host, address.port) for address in (inference, management, metrics, kserve) if address is not None}
    tls = tls_files(values, mounts, directory)
    if tls is None and any(address is not None and address.tls for address in (inference, management, metrics)):
        raise InvalidInput(
            "cannot serve https: there is no certificate",
            hint="set certificate_file and private_key_file, or keystore",
            reason="InvalidConfiguration",
        )
    model_api, keys = values["enable_model_api"].boolean(), key_settings(values, environment, mounts, directory)
    grpc = grpc_settings(values, pod_address, addresses)
    if model_api and keys is None:
        check_open_management([management.host, grpc.management.host if grpc.management is not None else ""], environment)
    return DoorSettings(
        inference=inference,
        management=management,
        metrics=metrics,
        kserve=kserve,
        more_models=_more_models(environment),
        request_bytes_max=values["max_request_size"].integer(least=1),
        model_api=model_api,
        keys=keys,
        cors=cors_headers(values),
        tls=tls,
        grpc=grpc,
        transforms_max=values["NUM_WORKERS"].integer(least=1),
        service_name=environment.get("INFERENCE_SERVICE_NAME") or None,
        openai_prefix=_openai_prefix(environment),
    )


def _openai_prefix(environment: Mapping[str, str]) -> str:
    steps = environment.get(OPENAI_PREFIX_VARIABLE, OPENAI_PREFIX).strip("/")
    return f"/{steps}" if steps else ""


def _more_models(environment: Mapping[str, str]) -> MoreModels | None:
    socket, store = environment.get(MODELS_DOOR_VARIABLE), environment.get(MORE_MODELS_VARIABLE)
    return MoreModels(Path(socket), Path(store)) if socket and store else None


def _address(value: Value, pod_address: str | None) -> Address:
    text = value.text.strip()
    if text.startswith("unix:"):
        return Address("", 0, Path(text.removeprefix("unix:").removeprefix("//")))
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError as error:
        raise value.refused(f"is no address: {error}") from error
    if parts.scheme not in ("http", "https") or parts.hostname is None or parts.path not in ("", "/"):
        raise value.refused("is no address", hint="write http://HOST:PORT, https://HOST:PORT or unix:/PATH")
    port = _DEFAULT_PORTS[value.key][parts.scheme] if port is None else port
    return Address(bind_host(parts.hostname, pod_address), port, tls=parts.scheme == "https")


def _models(values: Values, environment: Mapping[str, str], mounts: Mounts, directory: Path) -> tuple[ModelSettings, list[str]]:
    store_text = values["model_store"].text.strip()
    if not store_text:
        raise InvalidInput(
            "Missing mandatory parameter --model-store",
            hint="give --model-store DIR, or model_store=DIR in config.properties",
            reason="InvalidConfiguration",
        )
    store = _real(store_text, mounts, directory)
    if not store.is_dir():
        raise NotFound(
            f"--model-store not found: {store_text} ({values['model_store'].source})",
            hint="it must be the directory that holds the .mar files",
            reason="ModelStoreNotFound",
        )
    in_store = archives_in(store)
    notes: list[str] = []
    from_snapshot = bool(values["model_snapshot"].text.strip())
    if from_snapshot and values.restored and values["load_models"].is_from_flag:
        from_snapshot = False
        notes.append("the snapshot's models are not restored: --models says what to load")
    if from_snapshot:
        startup, notes = models_from_snapshot(values["model_snapshot"])
        if values["load_models"].source != "default":
            notes.append("load_models has no effect: model_snapshot says which models are loaded")
    else:
        startup = models_from_list(values["load_models"], in_store=in_store)
    by_model, model_notes = overrides_by_model(values["models"])
    gpu_count = len(nvidia_gpus())
    if values["number_of_gpu"].text.strip():
        gpu_count = min(gpu_count, values["number_of_gpu"].integer())
    settings = ModelSettings(
        store=store,
        workflow_store=_workflow_store(values["workflow_store"], store, mounts, directory),
        startup=tuple((model, _archive_path(model, store, store_text, in_store, mounts)) for model in startup),
        defaults=_model_defaults(values, gpu_count),
        gpu_count=gpu_count,
        from_snapshot=from_snapshot,
        registered_workers=values["default_workers_per_model"].integer(),
        unregister_seconds=values["unregister_model_timeout"].integer(least=1),
        allowed=allowed_addresses(values),
        aws_keys=aws_keys(environment),
        by_model=by_model,
        default_handler=values["default_service_handler"].text.strip() or None,
        envelope=values["service_envelope"].text.strip() or None,
        packages_cache=_cache_directory(environment) / "packages" if values["install_py_dep_per_model"].boolean() else None,
        limit_image_pixels=values["limit_max_image_pixels"].boolean(),
        decode_input=values["decode_input_request"].boolean(),
        launcher_arguments=_launcher_arguments(values),
        worker_variables={f"TS_{key.upper()}": "true" for key in ("ipex_enable", "ipex_gpu_enable") if values[key].boolean()},
        hidden_variables=_pattern(values["blacklist_env_vars"]),
    )
    return settings, [*notes, *model_notes]


def _pattern(value: Value) -> str:
    try:
        re.compile(value.text.strip())
    except re.error as error:
        raise value.refused(f"is no regular expression: {error}") from error
    return value.text.strip()


def _launcher_arguments(values: Values) -> tuple[str, ...] | None:
    if not values["cpu_launcher_enable"].boolean():
        return None
    try:
        return tuple(shlex.split(values["cpu_launcher_args"].text))
    except ValueError as error:
        raise values["cpu_launcher_args"].refused(f"are no arguments: {error}") from error


def _workflow_store(value: Value, store: Path, mounts: Mounts, directory: Path) -> Path:
    """Return the workflow store; without a setting of its own it is the model store."""
    if not value.text.strip():
        return store
    path = _real(value.text.strip(), mounts, directory)
    if not path.is_dir():
        raise NotFound(
            f"--workflow-store not found: {value.text} ({value.source})",
            hint="it must be the directory that holds the .war files",
            reason="WorkflowStoreNotFound",
        )
    return path


def _model_defaults(values: Values, gpu_count: int) -> ModelConfig:
    debug = values["debug"].boolean()
    workers = 1 if debug else values["default_workers_per_model"].integer() or gpu_count or os.cpu_count() or 1
    return ModelConfig(
        min_workers=workers,
        max_workers=workers,
        response_timeout_seconds=values["default_response_timeout"].integer(least=1),
        startup_timeout_seconds=values["default_startup_timeout"].integer(least=1),
        job_queue_size=values["job_queue_size"].integer(least=1),
        response_bytes_max=values["max_response_size"].integer(least=1),
        debug=debug,
        sequence_headers=SequenceHeaders(*(values[f"ts_header_key_sequence_{which}"].text.strip() for which in ("id", "start", "end"))),
    )


def archives_in(store: Path) -> list[str]:
    """Return the names in a model store that can be models: .mar and tar files and directories, sorted."""
    return sorted(
        entry.name
        for entry in store.iterdir()
        if not entry.name.startswith(".") and (entry.is_dir() or entry.name.endswith((".mar", ".tar.gz", ".tgz")))
    )


def _archive_path(model: StartupModel, store: Path, store_text: str, in_store: list[str], mounts: Mounts) -> Path:
    what = f"cannot load model {model.name or model.archive}"
    if "://" in model.archive:
        raise InvalidInput(
            f"{what}: {model.archive} is a URL, and this version does not download models",
            hint=f"put the archive into the model store {store_text}",
            reason="UnsupportedScheme",
        )
    if is_safe_relative(model.archive):
        path = store / model.archive
    elif os.path.isabs(model.archive):
        path = mounts.real(model.archive)
    else:
        raise InvalidInput(f'{what}: "{model.archive}" leads out of the model store', reason="InvalidConfiguration")
    if not path.exists():
        shown = ", ".join(in_store[:NAMES_SHOWN_MAX]) or "nothing"
        more = f" and {len(in_store) - NAMES_SHOWN_MAX} more" if len(in_store) > NAMES_SHOWN_MAX else ""
        raise NotFound(
            f"{what}: {store_text} holds no {model.archive}",
            hint=f"it holds {shown}{more}",
            reason="ModelArchiveNotFound",
        )
    return path


def _cache_directory(environment: Mapping[str, str]) -> Path:
    """Return where this user's caches are, by the XDG rules."""
    base = environment.get("XDG_CACHE_HOME") or os.path.join(environment.get("HOME") or tempfile.gettempdir(), ".cache")
    return Path(base) / "flambeau"


def _real(path: str, mounts: Mounts, directory: Path) -> Path:
    return directory / mounts.real(path)
