"""What a pod's volumes are on this machine, and how its paths lead there.

A mount path (``/mnt/models``) can't exist on the machine itself, so each mount is a directory of the pod, and paths in the command and
environment of programs that aren't ours are rewritten. Pure; the runner makes the directories.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from flambeau.control.resources.pod_contract import MODEL_VOLUME
from flambeau.foundation.errors import InvalidInput
from flambeau.foundation.files import is_safe_relative


class Source(StrEnum):
    """Where a mount's files come from."""

    MODEL = "model"
    EMPTY = "empty"
    SECRET = "secret"  # noqa: S105 - a kind of volume
    CONFIG = "config"
    HOST = "host"
    CLAIM = "claim"


@dataclass(frozen=True, slots=True)
class Mount:
    """One mount of a container."""

    path: str
    """In the container: ``/mnt/models``."""
    place: Path
    """On this machine."""
    source: Source
    name: str = ""
    """Of the Secret, ConfigMap or claim."""


def mounts_for(pod: Mapping[str, Any], container: Mapping[str, Any], directory: Path) -> tuple[Mount, ...]:
    """Return a container's mounts.

    Args:
        pod: the Pod object.
        container: one of its containers.
        directory: the pod's own directory.

    Raises:
        InvalidInput: reason VolumeNotSupported, or a mount that names no volume of the pod.
    """
    volumes = {volume["name"]: volume for volume in pod["spec"].get("volumes") or ()}
    return tuple(_mount(pod, mount, volumes, directory) for mount in container.get("volumeMounts") or ())


def volumes_of(directory: Path, namespace: str) -> Path:
    """Return the folder of a namespace's persistent volumes, given a pod's directory: ``HOME/volumes/<namespace>``."""
    return directory.parent.parent / "volumes" / namespace


def _mount(pod: Mapping[str, Any], mount: Mapping[str, Any], volumes: Mapping[str, Any], directory: Path) -> Mount:
    name, path = str(mount["name"]), "/" + str(mount["mountPath"]).strip("/")
    volume = volumes.get(name)
    if volume is None:
        raise InvalidInput(f'mount {path} names the volume "{name}", which the pod does not have', reason="VolumeNotFound")
    if name == MODEL_VOLUME:
        return Mount(path, directory / "mnt" / "models", Source.MODEL)
    place = directory / "volumes" / name
    if "hostPath" in volume:
        return Mount(path, Path(volume["hostPath"]["path"]), Source.HOST)
    if "persistentVolumeClaim" in volume:
        claim = str(volume["persistentVolumeClaim"]["claimName"])
        inside = str(mount.get("subPath") or "").strip("/")
        if ".." in inside.split("/") or not is_safe_relative(claim):
            raise InvalidInput(f'mount {path}: "{claim}/{inside}" leads out of the volume', reason="InvalidVolume")
        return Mount(path, volumes_of(directory, pod["metadata"]["namespace"]) / claim / inside, Source.CLAIM, claim)
    if "emptyDir" in volume:
        return Mount(path, place, Source.EMPTY)
    if "secret" in volume:
        return Mount(path, place, Source.SECRET, str(volume["secret"]["secretName"]))
    if "configMap" in volume:
        return Mount(path, place, Source.CONFIG, str(volume["configMap"]["name"]))
    kinds = ", ".join(sorted(set(volume) - {"name"})) or "nothing"
    raise InvalidInput(
        f'volume "{name}" is of a kind that this machine does not have ({kinds})',
        hint="emptyDir, hostPath, secret, configMap and persistentVolumeClaim work here",
        reason="VolumeNotSupported",
    )


def rewrite(text: str, mounts: Mapping[str, str]) -> str:
    """Return a text with mount paths replaced by where they are on this machine.

    A path counts only as a whole: ``/mnt/models-old`` and ``s3://bucket/mnt/models`` stay as they are.
    """
    for path in sorted(mounts, key=len, reverse=True):
        text = re.sub(rf"(?<![\w./:-]){re.escape(path)}(?![\w.-])", lambda _, path=path: mounts[path], text)  # type: ignore[misc]
    return text
