"""``flambeau runtime``: the model server as KServe's own servers start it, with their flags, for models that have no archive.

The control plane runs it for the images of KServe's built-in runtimes. One model's folder, or with ``triton`` a repository of models.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from flambeau.foundation.errors import InvalidInput, NotFound
from flambeau.programs.settings.models import StartupModel
from flambeau.programs.settings.mounts import parse_mounts
from flambeau.programs.settings.server import Flags, ServerSettings
from flambeau.serving.archive.formats import FORMATS, found_in, model_in
from flambeau.serving.archive.plain import manifest_of_model, summary_of

MODELS_PATH = "/mnt/models"
BATCH_SIZE = 32
"""Requests that wait while a worker is busy are answered together; none waits for others to come. A folder's model-config.yaml may say
another."""
REPOSITORY_MODELS_MAX = 256
"""Models of one repository."""

_MLSERVER = {
    "mlserver_sklearn.SKLearnModel": "sklearn",
    "mlserver_xgboost.XGBoostModel": "xgboost",
    "mlserver_lightgbm.LightGBMModel": "lightgbm",
}
_HANDLER_OPTIONS = ("nthread", "task", "max_length", "max_new_tokens", "return_probabilities", "trust_remote_code")
RUNTIMES = ("auto", *(name for name in FORMATS if name != "torch"), "torch", "mlserver", "triton")
"""What the first word may be: a format, ``auto`` (the files say), or another server whose environment and layout are read."""


@dataclass(frozen=True, slots=True)
class RuntimeModel:
    """What the flags say about the models."""

    runtime: str
    name: str
    directory: Path
    options: Mapping[str, Any]
    """For the handler."""
    notes: tuple[str, ...] = ()
    """Flags that mean nothing here."""


def runtime_flags(words: Sequence[str], environment: Mapping[str, str]) -> tuple[Flags, RuntimeModel]:
    """Return the server's flags and its model.

    Args:
        words: the runtime, then flags as its original takes them; those that mean nothing here are accepted.
        environment: the process's variables.

    Raises:
        InvalidInput: an unknown runtime, or a flag's value is malformed.
        NotFound: there is no such folder.
    """
    runtime = words[0] if words else ""
    if runtime not in RUNTIMES:
        raise InvalidInput(f"runtime {runtime!r} is unknown", hint=f"the runtimes are {', '.join(RUNTIMES)}", reason="InvalidConfiguration")
    parser = _Parser(prog=f"flambeau runtime {runtime}", add_help=False, allow_abbrev=False)
    for names, convert, default in _flags_of(runtime, environment):
        destination = {"nargs": "?", "const": True} if convert is _boolean else {}
        parser.add_argument(*names, type=convert, default=default, **destination)  # type: ignore[arg-type]  # argparse's own overloads
    given, unknown = parser.parse_known_args(list(words[1:]))
    if given.model_id:
        raise InvalidInput(
            f"cannot serve --model_id={given.model_id}: nothing is fetched when a server starts",
            hint="give the InferenceService a storageUri with the model's files",
            reason="InvalidConfiguration",
        )
    directory = parse_mounts(environment).real(given.model_dir)
    if not directory.is_dir():
        raise NotFound(f"--model_dir not found: {given.model_dir}", reason="ModelStoreNotFound")
    door = f"http://127.0.0.1:{given.http_port}"
    keys = {
        "inference_address": (door, "--http_port"),
        "metrics_address": (door, "--http_port"),
        # KServe's servers have no management; ours is nobody's business outside the pod, and has a port of its own.
        "management_address": ("http://127.0.0.1:0", "runtime"),
        "grpc_inference_port": (str(given.grpc_port) if given.enable_grpc else "", "--grpc_port"),
        "grpc_management_port": ("", "runtime"),
    }
    if given.workers is not None:
        keys["default_workers_per_model"] = (str(given.workers), "--workers")
    options: dict[str, Any] = {"as_mlserver": True} if runtime == "mlserver" else {}
    options |= {name: getattr(given, name) for name in _HANDLER_OPTIONS if getattr(given, name) is not None}
    flags = Flags(
        model_store=str(directory),
        no_config_snapshots=True,
        disable_token_auth=True,
        keys=keys,
    )
    notes = tuple(f"{word.partition('=')[0]} has no effect" for word in unknown if word.startswith("-"))
    return flags, RuntimeModel(_format_of(runtime, environment), given.model_name, directory, options, notes)


def with_runtime_model(settings: ServerSettings, model: RuntimeModel) -> ServerSettings:
    """Return settings that load the runtime's models; says in a line as what.

    Raises:
        InvalidInput: the folder holds no model of the format, or more than one; the text names the files.
    """
    startup = tuple(_repository(model) if model.runtime == "triton" else [_folder(model)])
    for each, directory in startup:
        assert each.manifest is not None, "made with one"
        print(f"serving {directory} as {summary_of(each.manifest)}", flush=True)
    defaults = replace(settings.models.defaults, batch_size=BATCH_SIZE, max_batch_delay_ms=0)
    if settings.values["default_workers_per_model"].source == "default":
        defaults = replace(defaults, min_workers=1, max_workers=1)  # as KServe's servers: --workers says more
    models = replace(settings.models, startup=startup, defaults=defaults)
    return replace(settings, models=models, notes=(*settings.notes, *model.notes))


def _folder(model: RuntimeModel) -> tuple[StartupModel, Path]:
    wanted = None if model.runtime == "auto" else model.runtime
    manifest = replace(manifest_of_model(model.directory, wanted, model.options), model_name=model.name)
    return StartupModel(model.directory.name, model.name, manifest=manifest), model.directory


def _repository(model: RuntimeModel) -> list[tuple[StartupModel, Path]]:
    """Return the models of Triton's layout, ``<model>/<version>/model.onnx``: of each the newest version, as Triton serves it."""
    startup = []
    folders = sorted(entry for entry in model.directory.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    for folder in folders[:REPOSITORY_MODELS_MAX]:
        versions = [entry for entry in folder.iterdir() if entry.is_dir() and entry.name.isdecimal() and int(entry.name) > 0]
        if not versions:
            continue
        newest = max(versions, key=lambda entry: int(entry.name))
        if model_in(newest).format not in ("onnx", "torch"):
            raise InvalidInput(f"model {folder.name}: of Triton's backends this machine has ONNX's and PyTorch's", reason="ModelMissing")
        manifest = replace(manifest_of_model(newest, None, model.options), model_name=folder.name, model_version=newest.name)
        startup.append((StartupModel(f"{folder.name}/{newest.name}", folder.name, manifest=manifest), newest))
    if startup:
        return startup
    if found_in(model.directory):
        return [_folder(replace(model, runtime="auto"))]  # Triton would refuse it, but there is only one thing that it can mean
    raise InvalidInput(
        f"there is no model in {model.directory.name}: it has no folder like <model>/<version>/, and no model file",
        hint="put the file at <model>/1/model.onnx or <model>/1/model.pt",
        reason="ModelMissing",
    )


def _format_of(runtime: str, environment: Mapping[str, str]) -> str:
    if runtime != "mlserver":
        return runtime
    implementation = environment.get("MLSERVER_MODEL_IMPLEMENTATION", "")
    if implementation not in _MLSERVER:
        raise InvalidInput(
            f'MLSERVER_MODEL_IMPLEMENTATION "{implementation}" is not served here',
            hint=f"these are: {', '.join(_MLSERVER)}",
            reason="InvalidConfiguration",
        )
    return _MLSERVER[implementation]


def _flags_of(runtime: str, environment: Mapping[str, str]) -> list[tuple[tuple[str, ...], Callable[[str], Any], Any]]:
    """Return each flag: its spellings, its type and its default."""
    is_mlserver = runtime == "mlserver"
    name = environment.get("MLSERVER_MODEL_NAME", "model") if is_mlserver else "model"
    directory = environment.get("MLSERVER_MODEL_URI", MODELS_PATH) if is_mlserver else MODELS_PATH
    return [
        (("--model_name", "--model-name"), str, name),
        (("--model_dir", "--model-dir", "--model-store", "--model-repository"), str, directory),
        (("--model_id", "--model-id"), str, None),
        (("--http_port", "--http-port"), _port, 8080),
        (("--grpc_port", "--grpc-port"), _port, 9000 if is_mlserver else 8081),
        (("--enable_grpc", "--allow-grpc"), _boolean, True),
        (("--workers",), _positive, None),
        (("--nthread",), _positive, None),
        (("--task",), str, None),
        (("--max_length", "--max_model_len", "--max-model-len"), _positive, None),
        (("--max_new_tokens",), _positive, None),
        (("--return_probabilities",), _boolean, None),
        (("--trust_remote_code", "--trust-remote-code"), _boolean, None),
    ]


class _Parser(argparse.ArgumentParser):
    """An argument parser that raises instead of ending the process."""

    def error(self, message: str) -> Any:
        raise InvalidInput(f"{self.prog}: {message}", reason="InvalidConfiguration")


def _boolean(text: str) -> bool:
    return text.lower() in ("true", "1", "yes")


def _port(text: str) -> int:
    port = int(text)
    if not 0 <= port <= 65_535:
        raise ValueError
    return port


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError
    return number
