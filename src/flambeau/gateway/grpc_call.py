"""One gRPC call on its way to a replica, and its answer on the way back: frames between two HTTP/2 streams.

Messages are not looked into; trailers, resets and flow control pass both ways. Errors of the gateway's are gRPC statuses. What a replica
has refused unseen (REFUSED_STREAM, or a GOAWAY that leaves the call out) reaches the client as such: gRPC clients try that again by
themselves.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol

from flambeau.foundation.http1 import ANSWERED, Exchange, Head
from flambeau.gateway import grpc_answers
from flambeau.gateway.http2_head import call_headers
from flambeau.gateway.http2_link import Codes, Flow, HeaderList, Link
from flambeau.gateway.passage import Client, Passage, fresh_id
from flambeau.gateway.table import Route
from flambeau.gateway.upstream import Replica, Service

if TYPE_CHECKING:
    from flambeau.gateway.proxy import Gateway


class CallClient(Client, Protocol):
    """Who asked: a stream, or what stands in its place."""

    def send_head(self, headers: HeaderList, *, end: bool = False) -> None:
        """Send an answer's head as it is; ``end``: it is all there is."""

    def finish(self, trailers: HeaderList = ()) -> None:
        """End a started answer."""

    def abort(self, code: Codes = Codes.INTERNAL_ERROR) -> None:
        """Break the answer off."""


def forward_call(gateway: Gateway, service: Service, route: Route, head: Head, client: CallClient) -> Exchange:
    """Give a call to a replica of its backend, or refuse it."""
    why = gateway.refusal(service)
    if why is not None:
        service.numbers.count(503, 0.0)
        client.send_head(grpc_answers.error_head(grpc_answers.UNAVAILABLE, why), end=True)
        return ANSWERED
    call = Call(gateway, service, route, head, client)
    gateway.dispatch(call)
    return call


class Call(Passage):
    """A request that speaks HTTP/2 to its replica."""

    __slots__ = ("_connecting", "_ended", "_flow", "_head", "_pending", "_trailers")

    client: CallClient

    def __init__(self, gateway: Gateway, service: Service, route: Route, head: Head, client: CallClient) -> None:
        super().__init__(gateway, service, route, client)
        self._head = head
        self._pending: list[bytes] = []  # what came before the connection to the replica: at most a stream's window, or a copy
        self._ended = False
        self._flow: Flow | None = None
        self._trailers: HeaderList = ()
        self._connecting: asyncio.Task[None] | None = None

    def go_to(self, replica: Replica, now: float) -> None:
        """Use a replica; its and the service's in-flight counts hold this call already."""
        self._replica = replica
        self._attempts += 1
        link = replica.links.take()
        if link is not None:
            self._attach(link)
        else:
            self.client.pause_reading()
            self._connecting = self._gateway.tasks.start(f"connect to {replica.endpoint.pod}", self._connect(replica))

    # What the client's stream calls.

    def on_body(self, data: bytes) -> None:
        """Pass a piece of the request on."""
        self._touch()
        if self._flow is None:
            self._pending.append(data)
        else:
            self._flow.write(data)

    def on_end(self) -> None:
        """Pass the request's end on."""
        self._ended = True
        self._touch()
        if self._flow is not None:
            self._flow.end()

    def on_writable(self, writable: bool) -> None:
        """Let the replica wait for the client."""
        if self._flow is None:
            return
        self._block(not writable)
        if writable:
            self._flow.resume()
        else:
            self._flow.pause()

    # What the replica's stream calls.

    def on_head(self, headers: HeaderList, ended: bool) -> None:
        """Pass the answer's head on; one that is all there is holds the trailers."""
        if ended:
            self._finish(headers)
            self.client.send_head(headers, end=True)
        else:
            self._status = 200
            self._touch()
            self.client.send_head(headers)

    def on_data(self, data: bytes) -> None:
        """Pass a piece of the answer on."""
        self._touch()
        self.client.write(data)

    def on_trailers(self, headers: HeaderList) -> None:
        """Keep them until the end, which comes at once."""
        self._trailers = headers

    def on_done(self) -> None:
        """End the answer."""
        if not self._over:
            trailers = self._trailers
            self._finish(trailers)
            self.client.finish(trailers)

    def on_reset(self, code: int | None, cause: str) -> None:
        """Tell the client that the replica is lost, or has reset the call."""
        self._flow = None
        if code is None:
            self._count_failure()
            self.fail(502, f"the replica {cause}; it may have worked on the call, so it was not sent again")
        else:
            self._leave(502)
            self.client.abort(Codes(code) if code in _KNOWN_CODES else Codes.INTERNAL_ERROR)

    def on_room(self, room: bool) -> None:
        """Let the client wait for the replica."""
        if room:
            self.client.resume_reading()
        else:
            self.client.pause_reading()

    # Inside.

    async def _connect(self, replica: Replica) -> None:
        try:
            link = await replica.links.open()
        except (OSError, TimeoutError) as error:
            self._connecting = None
            self._connection_failed(error)
            return
        self._connecting = None
        if not self._over:
            self._attach(link)

    def _attach(self, link: Link) -> None:
        route, head = self._route, self._head
        headers = call_headers(head, route.target, route.authority, self.client.peer, fresh_id(), self._gateway.scheme)
        self._flow = flow = link.ask(headers, self)
        self.client.resume_reading()
        pending, self._pending = self._pending, []
        for piece in pending:
            flow.write(piece)
        if self._ended:
            flow.end()

    def _refuse(self, status: int, why: str, begun: bool) -> None:
        code = grpc_answers.code_of(status)
        if begun:
            self.client.finish(grpc_answers.error_trailers(code, why))
        else:
            self.client.send_head(grpc_answers.error_head(code, why), end=True)

    def _finish(self, trailers: HeaderList) -> None:
        self._drop()
        self._succeed(grpc_answers.counted_as(trailers))

    def _drop(self) -> None:
        """Cancel at the replica; one that has answered before it read everything is asked to forget the rest."""
        flow, self._flow = self._flow, None
        if flow is not None and not (flow.in_done and flow.out_done):
            flow.reset(Codes.CANCEL)
        if self._connecting is not None:
            self._connecting.cancel()


_KNOWN_CODES = frozenset(int(code) for code in Codes)
