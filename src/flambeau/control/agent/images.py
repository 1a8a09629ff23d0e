"""Which command on this machine stands for a container.

There are no container images here: a known model server's image stands for our own command, any other runs if its container names a
command that exists on this machine. Called by the runner; never starts anything.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from flambeau.control.resources.images import runtime_of, stands_for_own_command
from flambeau.foundation.errors import InvalidInput

_TORCHSERVE_ONLY = ("--start", "--foreground", "--ncs", "--no-config-snapshots")
"""Flags about TorchServe's own background process or snapshots: a pod's server always runs in the foreground and keeps no snapshot."""

_RUNTIME_PROGRAMS = ("tritonserver", "mlserver")
"""What may stand before the flags of a runtime's image."""


@dataclass(frozen=True, slots=True)
class Command:
    """What to run."""

    argv: tuple[str, ...]
    ours: bool
    """It is our own server: it reads the mounts and the pod's address from its environment and answers ``/v2/health/ready``."""


def command_for(container: Mapping[str, Any], *, python: str, find: Callable[[str], str | None]) -> Command:
    """Return the command that does the container's work.

    Args:
        container: of the pod, its ``$(NAME)`` references expanded.
        python: the interpreter that runs our own commands.
        find: program name or path -> the path of an executable on this machine, or None.

    Raises:
        InvalidInput: reason ImageCannotRun; the text says why, the hint what would run.
    """
    name, image = container.get("name", ""), container.get("image", "")
    command: Sequence[str] = container.get("command") or ()
    arguments: Sequence[str] = container.get("args") or ()
    ours = _our_command(image, [*command, *arguments], named=bool(command))
    if ours is not None:
        return Command((python, "-m", "flambeau", *ours), ours=True)
    if not command:
        raise InvalidInput(
            f'container {name}: image "{image}" cannot run on this machine, which runs processes, not images, and it names no command',
            hint="give the container a command that exists here, or an image of pytorch/torchserve, of KServe's runtimes or of flambeau",
            reason="ImageCannotRun",
        )
    program = find(command[0])
    if program is None:
        raise InvalidInput(
            f'container {name}: its command "{command[0]}" does not exist on this machine, and image "{image}" cannot run here',
            hint="install the program, or name one by its absolute path",
            reason="ImageCannotRun",
        )
    return Command((program, *command[1:], *arguments), ours=False)


def _our_command(image: str, words: list[str], *, named: bool) -> list[str] | None:
    """Return the arguments of our own command; None if the container isn't one of ours.

    Args:
        image: the container's.
        words: its command and arguments.
        named: it names a command.
    """
    program = words[0].rpartition("/")[2] if words else ""
    if program == "torchserve":
        return ["serve", *_serve_flags(words[1:])]
    runtime = runtime_of(image)
    if runtime is not None and (not named or program == "tritonserver"):
        return ["runtime", runtime, *(words[1:] if program in _RUNTIME_PROGRAMS else words)]
    if named:
        return words[1:] if program == "flambeau" else None
    if not stands_for_own_command(image):
        return None
    if "kserve/router" in image:
        return ["graph-router", *words]
    if "torchserve" in image:
        return ["serve", *_serve_flags(words[1:] if program == "serve" else words)]
    return words[1:] if program == "flambeau" else words or ["serve"]


def _serve_flags(flags: Sequence[str]) -> list[str]:
    return [flag for flag in flags if flag not in _TORCHSERVE_ONLY]
