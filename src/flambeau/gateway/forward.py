"""One HTTP request on its way to a replica, and its answer on the way back: callbacks between two connections.

No task runs for it but the one that opens a new connection to a replica. Bodies stream both ways; each side's slowness pauses the other.
A lost connection after the request's first byte is a 502 with its cause, never a retry. An upgrade (WebSocket) that the replica accepts
turns it into a tunnel: bytes both ways, ended by either side or by a pause longer than the backend's timeout.
"""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING, cast

from flambeau.foundation import server_timing
from flambeau.foundation.http1 import Head
from flambeau.gateway import answers
from flambeau.gateway.headers import RequestHead, ResponseHead, request_head
from flambeau.gateway.passage import Client, Passage, fresh_id
from flambeau.gateway.table import Route
from flambeau.gateway.upstream import Replica, Service, Upstream

if TYPE_CHECKING:
    from flambeau.gateway.proxy import Gateway


class Known:
    """What was made of a client's head; it stays with the head, which a kept connection mostly brings again."""

    __slots__ = ("onward", "route", "turn")

    def __init__(self) -> None:
        self.onward: RequestHead | None = None
        self.route: Route | None = None
        """Where it goes, unless chance has a part in that."""
        self.turn = 0
        """Of the table that said so."""


class Forward(Passage):
    """A request that speaks HTTP/1.1 to its replica."""

    __slots__ = ("_ended", "_head", "_head_sent", "_id", "_onward", "_pending", "_upstream")

    def __init__(self, gateway: Gateway, service: Service, route: Route, head: Head, client: Client) -> None:
        super().__init__(gateway, service, route, client)
        self._head = head
        self._pending: list[bytes] = []  # body that came before the connection to the replica: at most one read, or a window of HTTP/2
        self._ended = False  # the client's request has arrived whole
        self._head_sent = False  # bytes of this request went to a replica: from now on no other may get it
        self._id = b""
        self._onward = _onward(head, client, gateway.scheme)
        self._upstream: Upstream | None = None

    def go_to(self, replica: Replica, now: float) -> None:
        """Use a replica; its and the service's in-flight counts hold this request already."""
        self._replica = replica
        self._attempts += 1
        upstream = replica.take_idle(now)
        if upstream is not None:
            self._attach(upstream)
        else:
            self.client.pause_reading()
            self._gateway.tasks.start(f"connect to {replica.endpoint.pod}", self._connect(replica))

    # What the client's connection calls.

    def on_body(self, data: bytes) -> None:
        """Pass a piece of the request on."""
        self._touch()
        if self._upstream is None:
            self._pending.append(data)
        else:
            self._send(data)

    def on_end(self) -> None:
        """Pass the request's end on."""
        self._ended = True
        self._touch()
        if self._upstream is not None:
            self._send_end()

    def on_abort(self) -> None:
        """Cancel at the replica what its client no longer wants; a tunnel's last bytes still go there."""
        if self._status == 101 and self._upstream is not None and not self._over:
            upstream, self._upstream = self._upstream, None
            upstream.hang_up()
            self._succeed(101)
        else:
            super().on_abort()

    def on_writable(self, writable: bool) -> None:
        """Let the replica wait for the client."""
        if self._upstream is None:
            return
        self._block(not writable)
        if writable:
            self._upstream.resume_reading()
        else:
            self._upstream.pause_reading()

    # What the replica's connection calls.

    def on_response(self, head: ResponseHead, body: bytes, complete: bool) -> None:
        """Pass the answer's head on, in one write with its body if that is all."""
        self._status = head.status
        headers = head.headers if head.has_request_id else [*head.headers, (b"x-request-id", self._id)]
        if self._onward.timed:
            took = server_timing.duration("gateway", monotonic() - self._began)
            headers = [*headers, (server_timing.NAME.encode(), took.encode())]
        client = self.client
        bodiless = self._head.method == "HEAD" or head.status in (204, 304)
        if complete:
            self._upstream = None  # it has gone back to its replica by itself
            self._succeed(head.status)
            if not bodiless:
                client.respond(head.status, headers, body)
                return
        else:
            self._touch()
        client.start(head.status, headers, head.length)
        if not bodiless:
            client.write(body)
        if complete:
            client.finish()

    def on_response_body(self, body: bytes, complete: bool) -> None:
        """Pass a piece of the answer on."""
        if complete:
            self._upstream = None
            self._succeed(self._status)
        else:
            self._touch()
        self.client.write(body)
        if complete:
            self.client.finish()

    def on_switched(self, head: ResponseHead) -> None:
        """Open the tunnel; what follows comes as pieces of the answer."""
        self._status = 101
        self._touch()
        self.client.switch([*head.headers, (b"Upgrade", cast(bytes, self._onward.upgrade)), (b"Connection", b"Upgrade")])

    def on_upstream_lost(self, cause: str) -> None:
        """Try another replica if nothing was sent; otherwise tell the client."""
        self._upstream = None
        if not self._head_sent:
            self._try_again(f"the replica {cause}")
            return
        self._count_failure()
        self.fail(502, f"the replica {cause}; it may have worked on the request, so it was not sent again")

    def on_upstream_writable(self, writable: bool) -> None:
        """Let the client wait for the replica."""
        if writable:
            self.client.resume_reading()
        else:
            self.client.pause_reading()

    # Inside.

    async def _connect(self, replica: Replica) -> None:
        try:
            upstream = await replica.connect()
        except (OSError, TimeoutError) as error:
            self._connection_failed(error)
            return
        if self._over:
            upstream.close()
        else:
            self._attach(upstream)

    def _attach(self, upstream: Upstream) -> None:
        self._upstream = upstream
        self.client.resume_reading()
        upstream.begin(self, self._head.method == "HEAD", may_switch=self._onward.upgrade is not None)
        pending, self._pending = self._pending, []
        for piece in pending:
            self._send(piece)
        if self._ended:
            self._send_end()

    def _send(self, data: bytes) -> None:
        """Send a piece of the body, behind the head if that waits for it."""
        if self._head.chunked and data:
            data = b"%x\r\n%b\r\n" % (len(data), data)
        upstream = cast(Upstream, self._upstream)
        upstream.write(data if self._head_sent else self._take_head() + data)

    def _send_end(self) -> None:
        upstream = cast(Upstream, self._upstream)
        upstream.request_sent = True
        end = b"0\r\n\r\n" if self._head.chunked else b""
        if not self._head_sent:
            upstream.write(self._take_head() + end)
        elif end:
            upstream.write(end)

    def _take_head(self) -> bytes:
        self._head_sent = True
        onward, route = self._onward, self._route
        self._id = onward.own_id or fresh_id()
        return onward.to(route.target, route.authority, self._id)

    def _refuse(self, status: int, why: str, begun: bool) -> None:
        if begun:
            self.client.abort()
            return
        pod = self._replica.endpoint.pod if self._replica is not None else None
        body = answers.error(why, backend=self.service.backend.name, pod=pod, route=self._route.source)
        self.client.respond(status, answers.headers(status), body)

    def _drop(self) -> None:
        if self._upstream is not None:
            self._upstream.cut()
            self._upstream = None


def _onward(head: Head, client: Client, scheme: bytes) -> RequestHead:
    known = head.kept
    if not isinstance(known, Known):
        return request_head(head, client.peer, scheme)
    if known.onward is None:
        known.onward = request_head(head, client.peer, scheme)
    return known.onward
