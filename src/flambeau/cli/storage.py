"""``flambeau storage test``: can a model be read, as whom, from where, and if not, why."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import orjson
from cyclopts import App, Parameter

from flambeau.cli.api import Api
from flambeau.cli.target import HERE, Target
from flambeau.foundation.clock import SystemClock
from flambeau.foundation.errors import InvalidInput, NotFound
from flambeau.storage.credentials import GCS_KEY, from_environment
from flambeau.storage.identity import Asker, identify
from flambeau.storage.model import Credentials
from flambeau.storage.trial import Trial, shown, try_uri

_GOOGLE_FILE = "GOOGLE_APPLICATION_CREDENTIALS"
_GOOGLE_BYTES_MAX = 1 << 20
_PATHS = {"configmaps": "/api/v1/namespaces/{}/configmaps/{}", "secrets": "/api/v1/namespaces/{}/secrets/{}"}
_ACCOUNT_PATH = "/api/v1/namespaces/{}/serviceaccounts/{}"

storage = App(name="storage", help="Look at where models are stored.")


@storage.command(name="test")
def check(
    uri: str,
    /,
    *,
    service_account: Annotated[str | None, Parameter(name=["--service-account", "-s"])] = None,
    output: Annotated[Literal["text", "json"], Parameter(name=["--output", "-o"])] = "text",
    target: Target = HERE,
) -> int:
    """Say as whom and where a model would be read, list it and read a little; nothing is kept.

    Parameters
    ----------
    uri
        Where the model is, such as `s3://BUCKET/PREFIX`, `gs://BUCKET/PREFIX`, `https://HOST/FILE` or `hf://OWNER/MODEL`.
    service_account
        Use the Secrets of this ServiceAccount, as a pod would. With `--namespace` alone it is `default`; with neither, the credentials
        are those of the environment, by the variables of KServe's storage initializer (AWS_ENDPOINT_URL, AWS_ACCESS_KEY_ID, HF_TOKEN ...).
    output
        `text` or `json`; the exit status is 0 when the model can be read.
    """
    if service_account or target.namespace:
        with target.open() as api:
            asker = Asker(api.namespace or "default", service_account or "default")
            uri, credentials = asyncio.run(identify(uri, asker, _reader(api)))
    else:
        credentials = _from_environment()
    if output == "text":
        _print_settings(credentials)
    trial = asyncio.run(try_uri(uri, credentials, SystemClock()))
    if output == "json":
        print(orjson.dumps(_document(trial, credentials), option=orjson.OPT_INDENT_2).decode())
        return 0 if trial.error is None else 1
    _print(trial)
    return 0


def _from_environment() -> Credentials:
    """Return the environment's credentials; Google's are in a file that it names."""
    environment = dict(os.environ)
    if path := environment.get(_GOOGLE_FILE):
        try:
            with Path(path).open() as file:
                environment[GCS_KEY] = file.read(_GOOGLE_BYTES_MAX)
        except (OSError, UnicodeDecodeError) as error:
            raise InvalidInput(f"cannot read {_GOOGLE_FILE}={path}: {error}", reason="InvalidStorageConfig") from error
    return from_environment(environment)


def _reader(api: Api) -> Any:
    """Return how objects are read from the API server; each is one short question."""

    async def read(kind: str, namespace: str, name: str) -> Mapping[str, Any] | None:
        try:
            return api.get(_PATHS.get(kind, _ACCOUNT_PATH).format(namespace, name))
        except NotFound:
            return None

    return read


def _print_settings(credentials: Credentials) -> None:
    for warning in credentials.warnings:
        print(f"Warning: {warning}", file=sys.stderr)
    for name, setting in credentials.settings.items():
        print(f"{name}: {shown(name, setting.value)}  ({setting.source})")


def _print(trial: Trial) -> None:
    for name, words in trial.facts.items():
        print(f"{name}: {words}")
    count = "" if trial.files is None else f": {trial.files} files"
    size = "" if trial.bytes is None else f", {trial.bytes:,} bytes"
    if trial.list_seconds is not None:
        print(f"listed in {trial.list_seconds:.2f} s{count}{size}")
    if trial.error is not None:
        raise trial.error
    if trial.read_seconds is not None:
        print(f"read a little of one file in {trial.read_seconds:.2f} s")
    print(f"{trial.uri} can be read{count}{size}")


def _document(trial: Trial, credentials: Credentials) -> dict[str, Any]:
    error = trial.error
    return {
        "uri": trial.uri,
        "readable": error is None,
        **{name: getattr(trial, name) for name in ("facts", "files", "bytes", "list_seconds", "read_seconds")},
        "settings": [
            {"name": name, "value": shown(name, setting.value), "source": setting.source} for name, setting in credentials.settings.items()
        ],
        "warnings": credentials.warnings,
        "error": None if error is None else {"reason": error.reason, "message": error.message, "hint": error.hint},
    }
