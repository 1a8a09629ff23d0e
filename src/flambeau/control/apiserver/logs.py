"""``kubectl logs``: the query, checked, and the agent's bytes, passed on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Protocol

from flambeau.control.apiserver.queries import flag, integer
from flambeau.control.apiserver.streams import Streams
from flambeau.control.resources.kind import Object
from flambeau.foundation.clock import parse_rfc3339
from flambeau.foundation.errors import FlambeauError, InvalidInput
from flambeau.foundation.tasks import TaskOwner

DEFAULT_CONTAINER = "kubectl.kubernetes.io/default-container"
_FIRST_BYTES_SECONDS = 1.0
"""How long an error may take to become the answer's status; a log that is silent longer answers 200 and goes on waiting."""


class PodLogs(Protocol):
    """Where logs come from: the agent, given to the API server by the program that runs both."""

    def stream(
        self,
        namespace: str,
        pod: str,
        container: str,
        *,
        follow: bool,
        tail_lines: int | None,
        since_seconds: int | None,
        previous: bool,
        timestamps: bool,
        limit_bytes: int | None,
    ) -> AsyncIterator[bytes]:
        """Yield a container's output, oldest first, in pieces of any size.

        Errors come before the first piece. Cancelled while it waits, when the client goes or the server stops.

        Args:
            follow: go on with what is written later, until the container ends.
            tail_lines: only this many of the last lines; None is all.
            since_seconds: only lines younger than this; None is all.
            previous: of the container's last run instead of this one.
            timestamps: each line begins with its time.
            limit_bytes: at most this many; None is all.

        Raises:
            NotFound: the container has written nothing that is kept.
            NotReady: the container has not started.
        """
        ...


@dataclass(frozen=True, slots=True)
class LogQuery:
    """What a GET of a log says."""

    container: str
    follow: bool
    tail_lines: int | None
    since_seconds: int | None
    previous: bool
    timestamps: bool
    limit_bytes: int | None

    @classmethod
    def parse(cls, parameters: Mapping[str, str], pod: Object, now: float) -> LogQuery:
        """Return the query.

        Args:
            parameters: of the URL.
            pod: whose containers there are.
            now: seconds since the epoch.

        Raises:
            InvalidInput: a value isn't of its type, or the pod has no such container.
        """
        since = integer(parameters, "sinceSeconds")
        if parameters.get("sinceTime"):
            try:
                since = max(1, round(now - parse_rfc3339(parameters["sinceTime"])))
            except (ValueError, OverflowError) as error:
                raise InvalidInput("sinceTime must be an RFC 3339 time", hint="such as 2026-01-31T12:00:00Z") from error
        return cls(
            container=choose_container(pod, parameters.get("container", "")),
            follow=flag(parameters, "follow"),
            tail_lines=integer(parameters, "tailLines"),
            since_seconds=since,
            previous=flag(parameters, "previous"),
            timestamps=flag(parameters, "timestamps"),
            limit_bytes=integer(parameters, "limitBytes"),
        )


def choose_container(pod: Object, wanted: str) -> str:
    """Return the container meant: the one named, the pod's default, or its only one.

    Raises:
        InvalidInput: there is no such container, or none can be told from the others.
    """
    metadata, spec = pod["metadata"], pod.get("spec") or {}
    regular = [container["name"] for container in spec.get("containers") or ()]
    initial = [container["name"] for container in spec.get("initContainers") or ()]
    wanted = wanted or (metadata.get("annotations") or {}).get(DEFAULT_CONTAINER, "")
    if not wanted and len(regular) == 1:
        return str(regular[0])
    if not wanted:
        raise InvalidInput(f"a container name must be specified for pod {metadata['name']}, choose one of: {regular + initial}")
    if wanted not in regular + initial:
        raise InvalidInput(f"container {wanted} is not valid for pod {metadata['name']}", hint=f"it has {', '.join(regular + initial)}")
    return wanted


@dataclass(frozen=True, slots=True)
class _Opened:
    """The first thing that a log said."""

    piece: bytes = b""
    error: FlambeauError | None = None
    ended: bool = False


async def open_log(logs: PodLogs, pod: Object, query: LogQuery, streams: Streams, tasks: TaskOwner) -> AsyncGenerator[bytes, None]:
    """Return the bytes of a log, once it is known whether there is one.

    Raises:
        FlambeauError: what the log's owner raises before its first bytes.
    """
    streams.check()
    metadata = pod["metadata"]
    source = logs.stream(
        metadata["namespace"],
        metadata["name"],
        query.container,
        follow=query.follow,
        tail_lines=query.tail_lines,
        since_seconds=query.since_seconds,
        previous=query.previous,
        timestamps=query.timestamps,
        limit_bytes=query.limit_bytes,
    )
    pieces = aiter(source)
    first = tasks.start("first log bytes", _open(pieces))
    try:
        await asyncio.wait({first}, timeout=_FIRST_BYTES_SECONDS)
    except asyncio.CancelledError:
        first.cancel()
        raise
    if first.done() and first.result().error is not None:
        raise first.result().error
    return _pass_on(_pieces(first, pieces), streams)


async def _open(pieces: AsyncIterator[bytes]) -> _Opened:
    try:
        return _Opened(await anext(pieces))
    except StopAsyncIteration:
        return _Opened(ended=True)
    except FlambeauError as error:
        return _Opened(error=error)


async def _pieces(first: asyncio.Task[_Opened], pieces: AsyncIterator[bytes]) -> AsyncGenerator[bytes, None]:
    try:
        opened = await asyncio.shield(first)
        if opened.error is not None:
            yield f"{opened.error}\n".encode()  # too late for a status: the answer has begun
        elif not opened.ended:
            yield opened.piece
            async for piece in pieces:
                yield piece
    finally:
        first.cancel()
        if isinstance(pieces, AsyncGenerator):
            await pieces.aclose()


async def _pass_on(source: AsyncGenerator[bytes, None], streams: Streams) -> AsyncGenerator[bytes, None]:
    with streams.admit():
        try:
            yield b""  # the answer's head goes out now, however long the log is silent
            while (piece := await streams.next(source, None)) is not None:
                yield piece
        except StopAsyncIteration:
            pass
        finally:
            await source.aclose()
