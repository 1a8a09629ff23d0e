"""``kubectl exec``: a command beside a pod's process, its streams passed both ways."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import orjson

from flambeau.control.apiserver.queries import flag
from flambeau.control.apiserver.upgrades.channels import Channels
from flambeau.control.resources.kind import Object
from flambeau.foundation.errors import InvalidInput
from flambeau.foundation.tasks import TaskOwner

COMMAND_WORDS_MAX = 1024


class Command(Protocol):
    """A command that runs."""

    def output(self, name: str) -> AsyncIterator[bytes]:
        """Yield what it writes to ``stdout`` or ``stderr``; with a terminal everything comes on ``stdout``."""
        ...

    async def write(self, data: bytes) -> None:
        """Give it input; an empty piece is the end. Input that it doesn't want any more is dropped."""
        ...

    def resize(self, columns: int, rows: int) -> None:
        """Say how large its terminal is."""
        ...

    async def ended(self) -> int:
        """Wait for its exit status; negative for a signal."""
        ...

    async def end(self) -> None:
        """Kill what is left of it, and wait."""
        ...


class PodCommands(Protocol):
    """Who runs commands beside pods: the agent, given to the API server by the program that runs both."""

    async def start(self, namespace: str, pod: str, container: str, command: list[str], *, terminal: bool) -> Command:
        """Start a command with a container's environment, in its directory.

        Raises:
            NotFound: no such program, or the container has no process.
            NotReady: the container doesn't run.
        """
        ...


@dataclass(frozen=True, slots=True)
class CommandQuery:
    """What an exec says."""

    command: list[str]
    stdin: bool
    stdout: bool
    stderr: bool
    terminal: bool

    @classmethod
    def parse(cls, parameters: Mapping[str, str], command: list[str]) -> CommandQuery:
        """Return the query.

        Args:
            parameters: of the URL.
            command: every value of ``command``.

        Raises:
            InvalidInput: there is no command, or a value isn't of its type.
        """
        if not 0 < len(command) <= COMMAND_WORDS_MAX:
            raise InvalidInput(f"you must specify a command of 1 to {COMMAND_WORDS_MAX} words for the container")
        terminal = flag(parameters, "tty")
        return cls(command, flag(parameters, "stdin"), flag(parameters, "stdout"), flag(parameters, "stderr") and not terminal, terminal)

    @property
    def streams(self) -> set[str]:
        """Return the streams that a SPDY client opens for it."""
        asked = {"stdin": self.stdin, "stdout": self.stdout, "stderr": self.stderr, "resize": self.terminal}
        return {"error"} | {name for name, wanted in asked.items() if wanted}


async def run(command: Command, query: CommandQuery, channels: Channels) -> None:
    """Pass streams until the command ends or the client goes; then tell how it ended.

    Raises:
        ConnectionError: the client went.
    """
    tasks = TaskOwner("exec")
    try:
        await channels.open()
        names = [name for name in ("stdout", "stderr") if name in query.streams]
        outputs = [tasks.start(name, _pass_output(command, name, channels)) for name in names]
        ended = tasks.start("end", _ended(command, outputs))
        client = tasks.start("input", _pass_input(command, query, channels))
        await asyncio.wait({ended, client}, return_when=asyncio.FIRST_COMPLETED)
        if ended.done():
            await channels.say("error", orjson.dumps(_status(ended.result())))
            await channels.close()
    finally:
        await command.end()
        await tasks.close()


async def _ended(command: Command, outputs: list[asyncio.Task[None]]) -> int:
    code = await command.ended()
    if outputs:
        await asyncio.wait(outputs, timeout=_LAST_OUTPUT_SECONDS)
    return code


_LAST_OUTPUT_SECONDS = 2.0
"""How long what a command left running may go on writing after its end."""


async def _pass_output(command: Command, name: str, channels: Channels) -> None:
    try:
        async for piece in command.output(name):
            await channels.say(name, piece)
    except ConnectionError:
        return


async def _pass_input(command: Command, query: CommandQuery, channels: Channels) -> None:
    """Pass what the client says, until it goes."""
    if not query.stdin:
        await command.write(b"")
    try:
        async for name, data in channels.received():
            if name == "stdin" and query.stdin:
                await command.write(data)
            elif name == "resize" and data:
                command.resize(*_size(data))
    except ConnectionError:
        return


def _size(data: bytes) -> tuple[int, int]:
    """Return columns and rows of a terminal; what can't be read is the usual size."""
    try:
        said: dict[str, Any] = orjson.loads(data)
        return min(int(said["Width"]), 65535), min(int(said["Height"]), 65535)
    except (ValueError, KeyError, TypeError):
        return 80, 24


def _status(code: int) -> Object:
    """Return how a command ended, as kubectl reads it."""
    if code == 0:
        return {"metadata": {}, "status": "Success"}
    code = code if code > 0 else 128 - code
    return {
        "metadata": {},
        "status": "Failure",
        "message": f"command terminated with non-zero exit code: exit status {code}",
        "reason": "NonZeroExitCode",
        "details": {"causes": [{"reason": "ExitCode", "message": str(code)}]},
    }
