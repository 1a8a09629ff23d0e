"""Where a pod's paths are on this machine, and which address it has.

A container sees ``/mnt/models``; a process on this machine sees the directory that stands for it. FLAMBEAU_MOUNTS says which, so that a
config.properties written for a container is read unchanged. Pure.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from flambeau.foundation.errors import InvalidInput

MOUNTS_VARIABLE = "FLAMBEAU_MOUNTS"
POD_ADDRESS_VARIABLE = "FLAMBEAU_POD_IP"

_ANY_OR_LOCAL = frozenset({"0.0.0.0", "localhost", "127.0.0.1", "::", "::1", "[::]", "[::1]", ""})  # noqa: S104 - compared, not bound


@dataclass(frozen=True, slots=True)
class Mounts:
    """Paths of the container -> directories of this machine."""

    by_path: Mapping[PurePosixPath, Path] = field(default_factory=dict)

    def real(self, path: str) -> Path:
        """Return where a path of the container is; a path below no mount is itself."""
        wanted = PurePosixPath(path)
        for mount in sorted(self.by_path, key=lambda mount: len(mount.parts), reverse=True):
            if wanted.is_relative_to(mount):
                return self.by_path[mount] / wanted.relative_to(mount)
        return Path(path)


def parse_mounts(environment: Mapping[str, str]) -> Mounts:
    """Return the mounts that FLAMBEAU_MOUNTS names.

    Raises:
        InvalidInput: it isn't a JSON object of absolute paths.
    """
    text = environment.get(MOUNTS_VARIABLE, "")
    if not text:
        return Mounts()
    try:
        table = json.loads(text)
        pairs = {PurePosixPath(mount): Path(directory) for mount, directory in table.items()}
    except (ValueError, AttributeError, TypeError) as error:
        raise InvalidInput(
            f"cannot use {MOUNTS_VARIABLE}: it is not a JSON object of paths: {error}", reason="InvalidConfiguration"
        ) from error
    if not all(mount.is_absolute() and directory.is_absolute() for mount, directory in pairs.items()):
        raise InvalidInput(f"cannot use {MOUNTS_VARIABLE}: every path in it must be absolute", reason="InvalidConfiguration")
    return Mounts(pairs)


def bind_host(host: str, pod_address: str | None) -> str:
    """Return the address a door binds: in a pod its own, wherever the config says any or this machine's."""
    return pod_address if pod_address and host.lower() in _ANY_OR_LOCAL else host
