"""What a pod's volumes are on this machine, and how its paths lead there.

A mount path (``/mnt/models``) can't exist on the machine itself, so each mount is a directory of the pod, and paths in the command and
environment of programs that aren't ours are rewritten. Pure; the runner makes the directories.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from flambeau.control.resources.pod_contract import MODEL_VOLUME
from flambeau.foundation.errors import InvalidInput
from flambeau.foundation.files import is_safe_relative

_KEY_SOURCES = frozenset(("secret", "configMap", "downwardAPI"))


class Source(StrEnum):
    """Where a mount's files come from."""

    MODEL = "model"
    EMPTY = "empty"
    KEYS = "keys"
    """Each file is a key of a Secret or ConfigMap, or a field of the pod."""
    HOST = "host"
    CLAIM = "claim"


@dataclass(frozen=True, slots=True)
class Keys:
    """What becomes files: keys of one object."""

    kind: str
    """Secret, ConfigMap, or Pod for fields of the pod itself."""
    name: str
    files: tuple[tuple[str, str], ...] | None
    """(key, path of the file); None: every key, under its own name."""
    fields: tuple[tuple[str, Mapping[str, Any]], ...] = ()
    """Of the pod: (path of the file, where its content comes from)."""
    is_optional: bool = False


@dataclass(frozen=True, slots=True)
class Mount:
    """One mount of a container."""

    path: str
    """In the container: ``/mnt/models``."""
    place: Path
    """On this machine."""
    source: Source
    name: str = ""
    """Of the claim."""
    keys: tuple[Keys, ...] = ()
    root: Path | None = None
    """Of the volume, where the mount is a path in it."""


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
    if "/" in name or not is_safe_relative(name):
        raise InvalidInput(f'mount {path}: "{name}" is no name of a volume', reason="InvalidVolume")
    root = directory / "volumes" / name
    inside = str(mount.get("subPath") or "").strip("/")
    if ".." in inside.split("/"):
        raise InvalidInput(f'mount {path}: its subPath "{inside}" leads out of the volume', reason="InvalidVolume")
    place = root / inside
    if "hostPath" in volume:
        return Mount(path, Path(volume["hostPath"]["path"], inside), Source.HOST)
    if "persistentVolumeClaim" in volume:
        claim = str(volume["persistentVolumeClaim"]["claimName"])
        if not is_safe_relative(claim):
            raise InvalidInput(f'mount {path}: "{claim}/{inside}" leads out of the volume', reason="InvalidVolume")
        folder = volumes_of(directory, pod["metadata"]["namespace"]) / claim
        return Mount(path, folder / inside, Source.CLAIM, claim, root=folder)
    if "emptyDir" in volume:
        return Mount(path, place, Source.EMPTY, root=root)
    sources = (volume.get("projected") or {}).get("sources") or ([volume] if set(volume) & _KEY_SOURCES else [])
    if sources:
        return Mount(path, place, Source.KEYS, keys=tuple(keys for source in sources for keys in _keys(source)), root=root)
    kinds = ", ".join(sorted(set(volume) - {"name"})) or "nothing"
    raise InvalidInput(
        f'volume "{name}" is of a kind that this machine does not have ({kinds})',
        hint="emptyDir, hostPath, secret, configMap, downwardAPI, projected and persistentVolumeClaim work here",
        reason="VolumeNotSupported",
    )


def _keys(source: Mapping[str, Any]) -> Iterator[Keys]:
    """Yield what one source of a volume brings; a projected service account's token is left out: there is none."""
    for field, kind in (("secret", "Secret"), ("configMap", "ConfigMap")):
        if field in source:
            said = source[field] or {}
            items = said.get("items")
            files = None if items is None else tuple((str(each["key"]), str(each["path"])) for each in items)
            yield Keys(kind, str(said.get("secretName") or said.get("name") or ""), files, is_optional=bool(said.get("optional")))
    if "downwardAPI" in source:
        yield Keys("Pod", "", (), tuple((str(each["path"]), each) for each in source["downwardAPI"].get("items") or ()))


def rewrite(text: str, mounts: Mapping[str, str]) -> str:
    """Return a text with mount paths replaced by where they are on this machine.

    A path counts only as a whole: ``/mnt/models-old`` and ``s3://bucket/mnt/models`` stay as they are.
    """
    for path in sorted(mounts, key=len, reverse=True):
        text = re.sub(rf"(?<![\w./:-]){re.escape(path)}(?![\w.-])", lambda _, path=path: mounts[path], text)  # type: ignore[misc]
    return text
