"""From a container's YAML to a running process."""

from __future__ import annotations

import math
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import orjson

from flambeau.control.agent import environment, logs, ownership
from flambeau.control.agent.cluster_names import addresses_of, lead, lead_home
from flambeau.control.agent.directory import PodDirectory
from flambeau.control.agent.identity import fs_group_of, identity_of, owner_of
from flambeau.control.agent.images import Command, command_for
from flambeau.control.agent.process import TERMINATION_LOG_VARIABLE, Leader
from flambeau.control.agent.status import is_asked, server_container
from flambeau.control.agent.volumes import Keys, Mount, Source, mounts_for, rewrite
from flambeau.control.resources.kind import Key, Object
from flambeau.control.resources.lookup import find
from flambeau.control.resources.pod_ports import http_port
from flambeau.control.resources.quantity import amount
from flambeau.control.store.interface import Store
from flambeau.foundation.errors import FlambeauError, NotFound, Unavailable
from flambeau.foundation.files import is_safe_relative, write_atomically
from flambeau.foundation.processes import ProcessRecord, start_detached
from flambeau.foundation.run_as import RunAs

_KIND_IDS = {"Secret": "secrets", "ConfigMap": "configmaps", "PersistentVolumeClaim": "persistentvolumeclaims"}


_POD_NETWORK = Path(__file__).parents[2] / "compat" / "pod_network"
"""Makes Python programs that listen on all addresses listen on their pod's."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What to start, completely worked out."""

    command: Command
    environment: dict[str, str]
    container: str
    folder: Path
    """Where it starts."""
    run_as: RunAs


async def plan(pod: Object, container: Object, directory: PodDirectory, address: str, store: Store) -> Plan:
    """Work out a container's command and environment, and make the directories that its mounts need.

    Raises:
        FlambeauError: it can't run here; its reason is the container's waiting reason.
    """
    run_as, owner = identity_of(pod, container, os.geteuid()), owner_of(pod, os.geteuid())
    mounts = mounts_for(pod, container, directory.path)
    try:
        if owner is not None:
            ownership.open_way(directory.path.parent.parent)
            ownership.hand_over(directory, owner)
        await _fill(mounts, pod, container, address, store, owner)
    except OSError as error:
        raise Unavailable(f"cannot prepare the volumes: {error}", reason="RunContainerError") from error
    sources = {source: await _read(store, pod, *source) for source in environment.sources_of(container)}
    own = environment.variables(pod, container, sources, address=address)
    places = {mount.path: str(mount.place) for mount in mounts}
    expanded = {
        **container,
        "command": [environment.expand(word, own) for word in container.get("command") or ()],
        "args": [environment.expand(word, own) for word in container.get("args") or ()],
    }
    command = command_for(expanded, python=sys.executable, find=shutil.which)
    inherited = environment.inherited(os.environ)
    if not command.ours:
        command = Command(tuple(rewrite(word, places) for word in command.argv), ours=False)
        own = {name: rewrite(value, places) for name, value in own.items()}
        inherited["PYTHONPATH"] = os.pathsep.join(filter(None, (str(_POD_NETWORK), inherited.get("PYTHONPATH"))))
    if run_as.user not in (None, 0):
        ownership.check_way(run_as, Path(command.argv[0]), directory)
        inherited["HOME"] = str(directory.work)  # ours is closed to it
    names = addresses_of((await store.list("services")).items)
    ports = [http_port(each) for each in pod["spec"]["containers"] if is_asked(pod, each)]

    def led(text: str) -> str:
        return lead_home(lead(text, names), address, ports)

    command = Command(tuple(led(word) for word in command.argv), command.ours)
    own = {name: led(value) for name, value in own.items()}
    given = {
        **inherited,
        **_threads(container),
        **({"PORT": str(http_port(container))} if is_asked(pod, container) else {}),
        "POD_NAME": directory.id.name,
        "POD_NAMESPACE": directory.id.namespace,
        **own,
        "FLAMBEAU_POD_IP": address,
        "FLAMBEAU_MOUNTS": orjson.dumps(places).decode(),
        **(_more_models(directory) if command.ours and container["name"] == server_container(pod)["name"] else {}),
        TERMINATION_LOG_VARIABLE: str(directory.termination_log(container["name"])),
    }
    return Plan(command, given, container["name"], _folder(container, places) or directory.work, run_as)


def _folder(container: Object, places: Mapping[str, str]) -> Path | None:
    """Return the container's workingDir where it is below a mount or on this machine; one of an image's own files is neither."""
    folder = Path(rewrite(str(container.get("workingDir") or ""), places))
    return folder if folder.is_absolute() and folder.is_dir() else None


def _more_models(directory: PodDirectory) -> dict[str, str]:
    """Return where a server of our own takes what TrainedModels add, and where that lies."""
    return {"FLAMBEAU_MODELS_DOOR": str(directory.models_door), "FLAMBEAU_MORE_MODELS": str(directory.more_models)}


def _threads(container: Object) -> dict[str, str]:
    """Return what keeps a program's computing threads to its cpu limit."""
    cores = amount(find(container, "resources", "limits", "cpu"))
    return {"OMP_NUM_THREADS": str(max(1, math.ceil(cores)))} if cores is not None else {}


def start(plan: Plan, directory: PodDirectory) -> tuple[subprocess.Popen[bytes], ProcessRecord]:
    """Start what was planned, and write down how it is known.

    Raises:
        Unavailable: reason RunContainerError; the system refused.
    """
    try:
        log = logs.begin(directory.path, plan.container)
        directory.termination_log(plan.container).unlink(missing_ok=True)
        child, record = start_detached(plan.command.argv, environment=plan.environment, directory=plan.folder, log=log, run_as=plan.run_as)
    except OSError as error:
        raise Unavailable(f"cannot start {plan.command.argv[0]}: {error.strerror or error}", reason="RunContainerError") from error
    try:
        directory.write_record(plan.container, record)
    except OSError as error:
        Leader(record, child).kill()  # a process that no later agent would know must not stay
        raise Unavailable(f"cannot write down {plan.container}'s process: {error.strerror}", reason="RunContainerError") from error
    return child, record


async def _fill(mounts: tuple[Mount, ...], pod: Object, container: Object, address: str, store: Store, owner: RunAs | None) -> None:
    """Make what mounts need; where the pod has a user of its own, that user's."""
    group = fs_group_of(pod)
    for mount in mounts:
        root = mount.root or mount.place
        match mount.source:
            case Source.MODEL if not mount.place.exists():
                mount.place.mkdir(parents=True)
                if owner is not None:
                    ownership.give_model_folder(mount.place, owner)
            case Source.EMPTY if owner is not None:
                ownership.give_folder(root, mount.place.relative_to(root), owner, group)
            case Source.EMPTY:
                mount.place.mkdir(parents=True, exist_ok=True)
            case Source.KEYS:
                root.mkdir(parents=True, exist_ok=True, mode=0o700)
                for keys in mount.keys:
                    await _write_keys(mount, keys, pod, container, address, store)
                if owner is not None:
                    ownership.give_keys(root, owner, group)
            case Source.CLAIM:
                await _bind(mount, pod, store)
                if owner is not None:
                    ownership.give_claim(root, group)


async def _bind(mount: Mount, pod: Object, store: Store) -> None:
    """See to it that a claim's folder is there; the agent makes it when the claim is written."""
    if mount.place.is_dir():
        return
    claim = await _read(store, pod, "PersistentVolumeClaim", mount.name)
    cause = "is not bound yet" if claim is not None else "is not there"
    raise NotFound(
        f'mount {mount.path}: PersistentVolumeClaim "{mount.name}" {cause}, or has no folder {mount.place}',
        hint=f"create the claim in the pod's namespace, or the folder {mount.place}",
        reason="CreateContainerConfigError",
    )


async def _write_keys(mount: Mount, keys: Keys, pod: Object, container: Object, address: str, store: Store) -> None:
    """Write a volume's files; those of an object that is optional and not there are none."""
    root = mount.root or mount.place
    if keys.kind == "Pod":
        for path, origin in keys.fields:
            _write(root, path, environment.field_value(path, origin, pod, container, address).encode())
        return
    found = await _read(store, pod, keys.kind, keys.name)
    if found is None and not keys.is_optional:
        raise NotFound(
            f'mount {mount.path}: {keys.kind} "{keys.name}" is not there',
            hint=f"create the {keys.kind} in the pod's namespace",
            reason="CreateContainerConfigError",
        )
    for key, path in (
        keys.files if keys.files is not None else [(key, key) for part in ("data", "binaryData") for key in (found or {}).get(part) or {}]
    ):
        value = environment.bytes_of(keys.kind, found or {}, key)
        if value is not None:
            _write(root, path, value)
        elif not keys.is_optional:
            raise NotFound(f'mount {mount.path}: {keys.kind} "{keys.name}" has no key "{key}"', reason="CreateContainerConfigError")


def _write(root: Path, path: str, value: bytes) -> None:
    if is_safe_relative(path):
        target = Path(root, path)
        target.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(target, value, mode=0o600)


async def _read(store: Store, pod: Object, kind: str, name: str) -> Object | None:
    try:
        return await store.get(Key(_KIND_IDS[kind], pod["metadata"]["namespace"], name))
    except NotFound:
        return None


def waiting_reason(error: FlambeauError) -> str:
    """Return the container's waiting reason for a pod that could not be started."""
    return error.reason if error.reason != error.default_reason else "CreateContainerConfigError"
