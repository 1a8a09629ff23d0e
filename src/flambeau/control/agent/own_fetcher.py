"""Run a ClusterStorageContainer's command: it gets a URI and an empty folder, and leaves the model's files there."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from flambeau.control.agent import environment, logs
from flambeau.control.agent.images import command_for
from flambeau.control.resources.kind import Key, Object
from flambeau.control.store.interface import Store
from flambeau.foundation.errors import InvalidInput, NotFound, Unavailable
from flambeau.foundation.processes import run_to_end
from flambeau.storage.model import Credentials

RUN_SECONDS_MAX = 6 * 3600.0
MESSAGE_LINES = 2
"""Of the log, in the message about a failure."""
_KIND_IDS = {"Secret": "secrets", "ConfigMap": "configmaps"}


async def run_fetcher(
    fetcher: Mapping[str, Any], uri: str, folder: Path, *, pod: Object, credentials: Credentials, store: Store, log: Path
) -> None:
    """Run the command to its end.

    Args:
        fetcher: the ClusterStorageContainer.
        uri: what to fetch.
        folder: where to; empty, and the command's working directory.
        pod: whose model it is.
        credentials: become the command's environment, as KServe's initializer has it.
        store: where Secrets and ConfigMaps of the container's own environment are; they are looked for in the pod's namespace.
        log: gets what the command prints.

    Raises:
        Unavailable: it can't be started, failed, or took longer than RUN_SECONDS_MAX (FetcherFailed).
        FlambeauError: its command or environment can't be worked out.

    Cancel: the command and whatever it started are killed.
    """
    name, container = fetcher["metadata"]["name"], fetcher["spec"]["container"]
    sources = {source: await _read(store, pod, *source) for source in environment.sources_of(container)}
    own = environment.variables(pod, container, sources, address="")
    words = {key: [environment.expand(word, own) for word in container.get(key) or ()] for key in ("command", "args")}
    command = command_for({**container, **words}, python=sys.executable, find=shutil.which)
    if command.ours:
        raise InvalidInput(f"ClusterStorageContainer {name} runs a model server's image", reason="InvalidStorageConfig")
    given = {name: setting.value for name, setting in credentials.settings.items()}
    try:
        ended = await run_to_end(
            (*command.argv, uri, str(folder)),
            environment={**environment.inherited(os.environ), **given, **own},
            seconds_max=RUN_SECONDS_MAX,
            directory=folder,
            log=log,
        )
    except TimeoutError as error:  # is an OSError, too
        raise Unavailable(f"ClusterStorageContainer {name} did not end within {RUN_SECONDS_MAX:.0f} s", reason="FetcherFailed") from error
    except OSError as error:
        raise Unavailable(f"cannot start {command.argv[0]} of ClusterStorageContainer {name}: {error}", reason="FetcherFailed") from error
    if ended.code != 0:
        last = logs.last_lines(log, MESSAGE_LINES).replace("\n", " / ")
        raise Unavailable(f"ClusterStorageContainer {name} ended with exit code {ended.code}: {last}", reason="FetcherFailed")


async def _read(store: Store, pod: Object, kind: str, name: str) -> Object | None:
    try:
        return await store.get(Key(_KIND_IDS[kind], pod["metadata"]["namespace"], name))
    except NotFound:
        return None
