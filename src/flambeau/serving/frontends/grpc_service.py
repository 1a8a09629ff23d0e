"""What every gRPC service here shares: how a method is called, refused, timed, counted and logged.

A service is a table of methods that take a request and a :class:`Call`; this module wraps them for grpc.aio. Errors of our tree become
status codes by the table in ``status``; a defect becomes INTERNAL and a line in the log, never a call without an end.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any
from urllib.parse import unquote

import grpc

from flambeau.foundation.errors import Denied, FlambeauError, Overloaded
from flambeau.serving.frontends import grpc_messages
from flambeau.serving.frontends.access_log import AccessLog
from flambeau.serving.frontends.request_id import request_id
from flambeau.serving.frontends.routes import Plane
from flambeau.serving.frontends.status import grpc_code_of, status_of
from flambeau.serving.frontends.tokens import Tokens
from flambeau.serving.metrics.server import ServerMetrics
from flambeau.serving.model import Answer

_log = logging.getLogger(__name__)

DETAILS_CHARS_MAX = 2_000
"""Of an error's text; it travels as a header, and clients refuse metadata over 8 KiB."""
DEADLINE_SECONDS_MAX = 86_400.0
"""A deadline further away counts as none."""
_QUIET = frozenset({"Ping", "ServerLive", "ServerReady", "ModelReady", "Check", "Watch", "ServerReflectionInfo"})
"""Methods of probers and tools: not in the access log."""

Headers = tuple[tuple[str, str], ...]


class Refused(Exception):
    """A call ends with an error.

    Args:
        status: the HTTP status that REST would have given.
        text: what the client reads.
        retry_after_seconds: sent as the trailing metadata ``retry-after``, or None.
    """

    def __init__(self, status: int, text: str, retry_after_seconds: float | None = None) -> None:
        super().__init__(text)
        self.status = status
        self.text = text[:DETAILS_CHARS_MAX]
        self.code = grpc.StatusCode[grpc_code_of(status)]
        self.retry_after_seconds = retry_after_seconds

    @classmethod
    def because(cls, error: FlambeauError) -> Refused:
        """Return the refusal that an error means."""
        seconds = error.retry_after_seconds if isinstance(error, Overloaded) else None
        status = HTTPStatus.FORBIDDEN if isinstance(error, Denied) else status_of(error)[0]
        return cls(status, str(error), seconds)

    @classmethod
    def answered(cls, answer: Answer) -> Refused:
        """Return the refusal that a worker's answer is."""
        return cls(answer.status, answer.body.decode("utf-8", "replace"))


class Call:
    """One call, as its method sees it.

    Args:
        context: grpc.aio's.
    """

    def __init__(self, context: Any) -> None:
        metadata = context.invocation_metadata() or ()
        # Binary metadata (its keys end in -bin) has no form in HTTP's headers, which is what handlers read.
        self.headers: Headers = tuple((name, value) for name, value in metadata if isinstance(value, str))
        self.id = request_id(self.header("x-request-id"))
        remaining = context.time_remaining()
        self.deadline: float | None = None
        """On the loop's clock."""
        if remaining is not None and remaining < DEADLINE_SECONDS_MAX:
            self.deadline = asyncio.get_running_loop().time() + remaining

    def header(self, name: str) -> bytes | None:
        """Return a header's value; None if the client sent none."""
        value = next((value for each, value in self.headers if each == name), None)
        return value.encode("latin-1", "replace") if value is not None else None


Unary = Callable[[Any, Call], Any]
"""Takes a request (or, where the client streams, an iterator of them); gives an awaitable answer, or an iterator of answers: messages, or
their bytes."""


@dataclass(frozen=True, slots=True)
class Service:
    """A service and the names it is served under; the messages of all are alike on the wire."""

    names: tuple[str, ...]
    methods: Mapping[str, Unary]
    plane: Plane | None = None
    """Whose key a call needs; None: nobody's."""
    open_methods: frozenset[str] = frozenset()
    """Need no key: probers have none, and get no more than yes or no."""
    managing_methods: frozenset[str] = frozenset()
    """Need the management's key."""
    readers: Mapping[str, Callable[[bytes], Any]] = field(default_factory=dict)
    """Method -> what makes its request of the bytes that came, where that is not the message alone."""


class Wrapper:
    """Make grpc.aio's handlers of services.

    Args:
        metrics: counts answers by their class.
        access_log: one line per call; None for none.
        tokens: looks at the keys of calls; None: nobody needs one.
    """

    def __init__(self, metrics: ServerMetrics, access_log: AccessLog | None, tokens: Tokens | None) -> None:
        self._metrics = metrics
        self._access_log = access_log
        self._tokens = tokens

    def handlers(self, service: Service) -> list[grpc.GenericRpcHandler]:
        """Return what serves a service under each of its names."""
        described = grpc_messages.service(service.names[0])
        made = []
        for name in service.names:
            methods = {method.name: self._handler(service, f"/{name}/{method.name}", method) for method in described.methods}
            made.append(grpc.method_handlers_generic_handler(name, methods))
        return made

    def _handler(self, service: Service, path: str, method: Any) -> Any:
        serve = service.methods[method.name]
        loud = method.name not in _QUIET
        plane = None if method.name in service.open_methods else service.plane
        if method.name in service.managing_methods:
            plane = Plane.MANAGEMENT

        async def whole(request: Any, context: Any) -> Any:
            noted = _Noted(self, path, context, loud=loud)
            try:
                call = self._admitted(plane, context, noted)
                return await serve(request, call)
            except Exception as error:
                await noted.refuse(error)
            finally:
                noted.end()

        async def streamed(request: Any, context: Any) -> AsyncIterator[Any]:
            noted = _Noted(self, path, context, loud=loud)
            try:
                call = self._admitted(plane, context, noted)
                async for part in serve(request, call):
                    yield part
            except Exception as error:
                await noted.refuse(error)
            finally:
                noted.end()

        read = service.readers.get(method.name) or grpc_messages.message(method.input_type.full_name).FromString
        make = {
            (False, False): grpc.unary_unary_rpc_method_handler,
            (False, True): grpc.unary_stream_rpc_method_handler,
            (True, True): grpc.stream_stream_rpc_method_handler,
        }[method.client_streaming, method.server_streaming]
        return make(
            streamed if method.server_streaming else whole,
            request_deserializer=read,
            response_serializer=lambda response: response if isinstance(response, bytes) else response.SerializeToString(),
        )

    def _admitted(self, plane: Plane | None, context: Any, noted: _Noted) -> Call:
        call = Call(context)
        noted.request_id = call.id
        if plane is not None and self._tokens is not None:
            self._tokens.check(frozenset({plane}), call.header("authorization"))
        return call

    def note(self, path: str, peer: str, code: int, status: int, seconds: float, *, request_id: str, loud: bool) -> None:
        """Count one ended call, and log it."""
        self._metrics.count_answer(status)
        if self._access_log is not None and loud:
            target = path.encode("latin-1", "replace")
            self._access_log.record(
                peer=peer, method="gRPC", target=target, status=code, seconds=seconds, request_id=request_id, version=b"HTTP/2.0"
            )


class _Noted:
    """One call's end: with a status, or gone with its client."""

    def __init__(self, wrapper: Wrapper, path: str, context: Any, *, loud: bool) -> None:
        self._wrapper = wrapper
        self._path = path
        self._context = context
        self._loud = loud
        self.request_id = ""
        self._began = time.monotonic()
        self._status = 200
        self._code: Any = grpc.StatusCode.OK

    async def refuse(self, error: Exception) -> None:
        """End the call with an error. Does not return."""
        if isinstance(error, FlambeauError):
            error = Refused.because(error)
        if not isinstance(error, Refused):
            _log.error("call %s failed", self._path, exc_info=error)
            error = Refused(500, f"cannot answer: {type(error).__name__} (the server's log has the cause)")
        self._status, self._code = error.status, error.code
        seconds = error.retry_after_seconds
        trailing: Sequence[tuple[str, str]] = () if seconds is None else (("retry-after", f"{seconds:.0f}"),)
        await self._context.abort(error.code, error.text, trailing)

    def end(self) -> None:
        """Note how it ended."""
        if self._context.cancelled():
            self._status, self._code = 499, grpc.StatusCode.CANCELLED
        seconds = time.monotonic() - self._began
        peer = peer_of(self._context.peer())
        self._wrapper.note(self._path, peer, self._code.value[0], self._status, seconds, request_id=self.request_id, loud=self._loud)


def peer_of(text: str) -> str:
    """Return a peer as the access log has it: ``ipv4:127.0.0.1:5000`` without its first word."""
    kind, _, address = text.partition(":")
    return unquote(address) if kind in ("ipv4", "ipv6") else text
