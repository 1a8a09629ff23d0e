"""A pod's directory: everything about a pod that must outlive the agent.

HOME/pods/<namespace>_<name>_<uid>/
  pod.json          Notes
  processes/        <container>.json: how a container's process is known (foundation.processes)
  terminations/     <container>: one sentence from a program that ended because of an error
  logs/             <container>.log, <container>.previous.log
  mnt/models        a link into the cache
  more-models/      links into the cache, of what TrainedModels add
  volumes/, work/   other volumes; the processes' working directory
"""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import signal
import stat
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from flambeau.foundation.files import write_atomically
from flambeau.foundation.processes import ProcessRecord

_TERMINATION_BYTES_MAX = 4096
_DOOR_CHARS = 18
"""Of a pod's uid, in the name of its door: enough that no two are the same."""
_log = logging.getLogger(__name__)


class PodId(NamedTuple):
    """Which pod; the uid tells a pod from its namesake of earlier."""

    namespace: str
    name: str
    uid: str

    @classmethod
    def of(cls, pod: Mapping[str, Any]) -> PodId:
        """Return a Pod object's identity."""
        metadata = pod["metadata"]
        return cls(metadata["namespace"], metadata["name"], metadata["uid"])

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


@dataclass(frozen=True, slots=True)
class Notes:
    """What the agent writes down about a pod."""

    address: str
    ours: tuple[str, ...] = ()
    """Containers that are our own server, and are probed as such."""


class PodDirectory:
    """Read and write one pod's directory.

    Args:
        pods: the folder of all pods.
        id: which one.
    """

    def __init__(self, pods: Path, id: PodId) -> None:
        self.id = id
        self.path = pods / "_".join(id)
        self.processes = self.path / "processes"
        self.model = self.path / "mnt" / "models"
        self.work = self.path / "work"
        self.more_models = self.path / "more-models"
        """What TrainedModels add, each a link into the cache."""
        self.terminations = self.path / "terminations"
        self.models_door = pods.parent / "doors" / id.uid[:_DOOR_CHARS] / "door"
        """Where our own server in the pod takes more models; short, since the path of a socket has at most 107 characters."""

    def create(self) -> None:
        """Make the folders; those that are there stay as they are. Only this user may look into them."""
        self.path.mkdir(parents=True, exist_ok=True, mode=0o700)
        for folder in (self.path / "logs", self.path / "mnt", self.terminations, self.processes, self.work, self.more_models):
            folder.mkdir(exist_ok=True)
        for folder in (self.models_door.parent.parent, self.models_door.parent):
            folder.mkdir(exist_ok=True, mode=0o700)

    def remove(self) -> None:
        """Remove everything. The model it links to is the cache's, and stays."""
        shutil.rmtree(self.path, ignore_errors=True)
        shutil.rmtree(self.models_door.parent, ignore_errors=True)

    def notes(self) -> Notes | None:
        """Return what was written down; None if nothing was."""
        try:
            fields = orjson.loads((self.path / "pod.json").read_bytes())
            return Notes(str(fields["address"]), tuple(fields["ours"]))
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def write_notes(self, notes: Notes) -> None:
        """Write down."""
        write_atomically(self.path / "pod.json", orjson.dumps(asdict(notes)), mode=0o600, synced=False)

    def record(self, container: str) -> ProcessRecord | None:
        """Return how a container's process is known; None if there is none."""
        return ProcessRecord.load(self._record_path(container))

    def living(self) -> dict[str, ProcessRecord]:
        """Return the processes that run, by container."""
        paths = sorted(self.processes.glob("*.json"))
        records = {path.stem: ProcessRecord.load(path) for path in paths}
        return {name: record for name, record in records.items() if record is not None and record.is_alive()}

    def end_unknown(self) -> None:
        """Kill what runs here though the notes are lost: nobody knows its address, and it is begun anew."""
        for container, record in self.living().items():
            _log.warning("pod %s: its notes are lost; %s is ended and begun anew", self.id, container)
            record.signal(signal.SIGKILL)
        for path in self.processes.glob("*.json"):
            path.unlink(missing_ok=True)

    def write_record(self, container: str, record: ProcessRecord) -> None:
        """Write down how a container's process is known."""
        record.save(self._record_path(container))

    def forget_record(self, container: str) -> None:
        """There is no process any more."""
        self._record_path(container).unlink(missing_ok=True)

    def _record_path(self, container: str) -> Path:
        return self.processes / f"{container}.json"

    def termination_log(self, container: str) -> Path:
        """Return where a program says why it ended."""
        return self.terminations / container

    def last_words(self, container: str) -> str:
        """Return what the program wrote before it ended, and forget it."""
        path = self.termination_log(container)
        with contextlib.suppress(OSError):
            # The folder may be another user's, who must not have us read something else, or wait: no link is followed, no pipe opened.
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
            with os.fdopen(descriptor, "rb") as file:
                is_file = stat.S_ISREG(os.fstat(descriptor).st_mode)
                words = file.read(_TERMINATION_BYTES_MAX).decode(errors="replace").strip() if is_file else ""
            path.unlink()
            return words
        return ""


def directories(pods: Path) -> list[PodDirectory]:
    """Return the directories of all pods that were left here."""
    found = []
    for path in sorted(pods.glob("*")):
        parts = path.name.split("_")
        if len(parts) == 3 and path.is_dir():
            found.append(PodDirectory(pods, PodId(*parts)))
    return found
