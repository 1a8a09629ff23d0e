"""What of this machine's files a pod that runs as another user may see: its own directory and models, and nothing else of the home.

Only for a control plane of root. Folders on the way can be passed, not listed; whatever else lies in the home is root's alone. A pod owns
places that the agent writes to, so nothing here follows a link that the pod may have put there.
"""

from __future__ import annotations

import contextlib
import os
import stat
from pathlib import Path

from flambeau.control.agent.directory import PodDirectory
from flambeau.foundation.errors import InvalidInput, Unavailable
from flambeau.foundation.run_as import RunAs

_ON_THE_WAY = ("pods", "doors", "volumes", "cache", "cache/trees")
_CLOSED = ("store.db*", "kubeconfig", "pki", "gateway", "cache/*")
"""What else the platform keeps in a home. Other things in it are not ours to close: somebody may have named a folder of many uses."""
_PASSED = 0o711
_SECRET_FILE, _SECRET_FILE_OF_GROUP = 0o400, 0o440


def open_way(home: Path) -> None:
    """Let other users pass through the home to what they know by name, and close to them what the platform keeps there.

    Raises:
        OSError: a folder is not ours.
    """
    for pattern in _CLOSED:
        for entry in home.glob(pattern):
            if str(entry.relative_to(home)) not in _ON_THE_WAY and not entry.is_symlink():
                with contextlib.suppress(FileNotFoundError):  # a file that was made for a moment
                    entry.chmod(stat.S_IMODE(entry.stat().st_mode) & 0o700)
    for name in _ON_THE_WAY:
        if (home / name).is_dir():
            (home / name).chmod(_PASSED)
    home.chmod(stat.S_IMODE(home.stat().st_mode) | 0o011)


def hand_over(directory: PodDirectory, run_as: RunAs) -> None:
    """Give a pod's processes their places in its directory; what the agent writes down there stays root's alone.

    Raises:
        OSError: the disk refused.
    """
    assert run_as.user is not None
    volumes = directory.path / "volumes"
    volumes.mkdir(exist_ok=True)
    for folder in (directory.path / "logs", directory.processes):
        folder.chmod(0o700)
    for folder in (directory.path, directory.path / "mnt", volumes, directory.more_models):
        folder.chmod(_PASSED)
    for folder in (directory.work, directory.terminations, directory.models_door.parent):
        os.chown(folder, run_as.user, run_as.group, follow_symlinks=False)
        folder.chmod(0o700)


def give_folder(root: Path, inside: Path, run_as: RunAs, fs_group: int | None) -> None:
    """Make a folder of a pod's own volume, and each one above it up to the volume, the pod's.

    Args:
        root: the volume; its parent is ours.
        inside: the folder, relative to the volume.
        run_as: who gets what is made.
        fs_group: the group of the pod's volumes.

    Raises:
        InvalidInput: the way leads over a link (InvalidVolume).
        OSError: the disk refused.
    """
    assert run_as.user is not None
    group, mode = (run_as.group, 0o700) if fs_group is None else (fs_group, 0o2770)
    above = os.open(root.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        for name in (root.name, *inside.parts):
            try:
                os.mkdir(name, 0o700, dir_fd=above)
                is_new = True
            except FileExistsError:
                is_new = False
            try:
                below = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=above)
            except OSError as error:
                raise InvalidInput(f'the folder "{inside}" of a volume leads over {name}, which is none', reason="InvalidVolume") from error
            os.close(above)
            above = below
            if is_new:
                os.fchown(below, run_as.user, group)
                os.fchmod(below, mode)
    finally:
        os.close(above)


def give_model_folder(folder: Path, run_as: RunAs) -> None:
    """Let an init container of the pod's own fill the folder of the model.

    Raises:
        OSError: the disk refused.
    """
    assert run_as.user is not None
    folder.chmod(0o700)
    os.chown(folder, run_as.user, run_as.group, follow_symlinks=False)


def give_keys(root: Path, run_as: RunAs, fs_group: int | None) -> None:
    """Let a pod read the files that keys of Secrets and ConfigMaps became; the folders stay root's, so that it puts nothing there.

    Raises:
        OSError: the disk refused.
    """
    assert run_as.user is not None
    for folder, _, files in os.walk(root):
        Path(folder).chmod(0o755)
        for name in files:
            path = Path(folder, name)
            os.chown(path, run_as.user, run_as.group if fs_group is None else fs_group, follow_symlinks=False)
            path.chmod(_SECRET_FILE if fs_group is None else _SECRET_FILE_OF_GROUP)


def give_claim(claim: Path, fs_group: int | None) -> None:
    """Let a pod pass to a claim's folder, and its group write into it; what is in the folder keeps its own modes.

    Raises:
        OSError: the disk refused.
    """
    claim.parent.chmod(_PASSED)
    if fs_group is not None and not claim.is_symlink():
        os.chown(claim, -1, fs_group)
        claim.chmod(stat.S_IMODE(claim.stat().st_mode) | 0o2770)


def check_way(run_as: RunAs, program: Path, directory: PodDirectory) -> None:
    """See to it that a process can be started as another user, and reach its directory and model.

    Raises:
        Unavailable: something on the way is closed to that user (CreateContainerConfigError); the text names it.
    """
    home = directory.path.parent.parent
    if (barrier := run_as.barrier_to(directory.work)) is not None:
        raise Unavailable(
            f"user {run_as.user} may not pass {barrier}, on the way to the pod's directory",
            hint=f"start `flambeau up` with --home in a folder that every user may pass, instead of {home}",
            reason="CreateContainerConfigError",
        )
    if directory.model.exists() and (barrier := run_as.barrier_to(directory.model)) is not None:
        raise Unavailable(
            f"user {run_as.user} may not pass {barrier}, on the way to the model",
            hint="let every user pass that folder, or have the model fetched instead of used in place",
            reason="CreateContainerConfigError",
        )
    if (barrier := run_as.barrier_to(program)) is not None:
        raise Unavailable(
            f"user {run_as.user} may not pass {barrier}, on the way to {program}",
            hint="install the program where every user may run it, or take runAsUser out of the securityContext",
            reason="CreateContainerConfigError",
        )
