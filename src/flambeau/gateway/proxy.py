"""The gateway's hands: take a request, ask the table, pass it to a replica and the answer back.

``Gateway`` is the application of a ``foundation.http1.Server``; each request becomes a ``Forward``, callbacks between two connections: no
task runs for it but the one that opens a new connection to a replica. Bodies stream both ways; each side's slowness pauses the other.

At most one execution: a request goes to another replica only while not one byte of it has been written to any (connecting failed, or a
kept-alive connection turned out to be closed before its first use). Afterwards a lost connection is a 502 with its cause, never a retry.
"""

from __future__ import annotations

import asyncio
import logging
import os
import random
from collections.abc import Callable
from typing import cast

from flambeau.foundation.http1 import ANSWERED, Connection, Exchange, Head
from flambeau.foundation.tasks import TaskOwner
from flambeau.gateway import answers
from flambeau.gateway.balance import Load, choose
from flambeau.gateway.breaker import HEALTHY
from flambeau.gateway.document import Document
from flambeau.gateway.headers import ResponseHead, request_head
from flambeau.gateway.metrics import Numbers, Reading
from flambeau.gateway.table import Miss, Route, Table
from flambeau.gateway.upstream import IDLE_SECONDS_MAX, Replica, Service, Upstream

IN_FLIGHT_MAX = 4096
"""Requests in the gateway, waiting ones included."""
BACKEND_IN_FLIGHT_MAX = 2048
"""Requests of one backend, so that one can't take the whole gateway."""
QUEUE_PER_CONCURRENCY = 10
"""Waiting requests per slot where a revision limits its concurrency, as Knative's queue-proxy has it."""
ATTEMPTS_MAX = 3
"""Connections that are tried for one request before the first byte of it is written."""
SWEEP_SECONDS = 0.1
"""Deadlines are looked at this often, all at once."""

_NEVER = float("inf")
_log = logging.getLogger(__name__)


class Gateway:
    """Route requests to replicas, by a table that is swapped whole.

    Args:
        address: ``host:port`` where clients reach this gateway, for examples in answers.
        draw: returns random numbers in [0, 1).
    """

    def __init__(self, address: str, draw: Callable[[], float] = random.random) -> None:
        self.address = address
        self.table = Table(Document(version=0))
        self.services: dict[str, Service] = {}
        self.misses = Numbers()
        self.draw = draw
        self.tasks = TaskOwner("gateway")
        self.wakers: set[Callable[[str], None]] = set()
        """Called with a backend's name when a request begins to wait for its first replica."""
        self._active: set[Forward] = set()
        self._sweeper: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Begin to watch deadlines."""
        self._sweep()

    async def close(self) -> None:
        """Cut what still runs, close idle connections, end tasks."""
        if self._sweeper is not None:
            self._sweeper.cancel()
        for forward in tuple(self._active):
            forward.connection.abort()
            forward.on_abort()
        for service in self.services.values():
            service.retire()
        await self.tasks.close()

    def serve(self, table: Table) -> None:
        """Serve another table from now on; requests under way keep what they have."""
        for name in [name for name in self.services if name not in table.backends]:
            gone = self.services.pop(name)
            gone.retire()
            self._fail_waiting(gone, f"backend {name} is gone")
        for name, backend in table.backends.items():
            service = self.services.get(name)
            if service is None:
                self.services[name] = Service(backend)
                continue
            service.update(backend)
            if not backend.endpoints and not backend.hold_seconds:
                self._fail_waiting(service, backend.why_empty or f"backend {name} has no replica")
            self.dispatch_waiting(service)
        self.table = table

    def readings(self) -> list[Reading]:
        """Return the numbers of each backend now, and of requests that found none."""
        named = [Reading(name, service.numbers, service.in_flight, len(service.waiting)) for name, service in self.services.items()]
        return [Reading("", self.misses), *named]

    def application(self, head: Head, connection: Connection) -> Exchange:
        """Begin a request."""
        found = self.table.route(head.host, head.path, head.query, head.method, head.headers, self.draw())
        if isinstance(found, Miss):
            self.misses.count(answers.miss_status(found), 0.0)
            connection.respond(answers.miss_status(found), answers.JSON_HEADERS, answers.miss_body(found, self.address, head.target))
            return ANSWERED
        service = self.services[found.backend.name]
        refusal = self._refusal(head, service)
        if refusal is not None:
            status, why = refusal
            service.numbers.count(status, 0.0)
            body = answers.error(why, backend=found.backend.name, route=found.source)
            connection.respond(status, answers.headers(status), body)
            return ANSWERED
        forward = Forward(self, service, found, head, connection)
        self._active.add(forward)
        self.dispatch(forward)
        return forward

    def dispatch(self, forward: Forward) -> None:
        """Give a request to the replica that has the fewest in flight, or let it wait for one."""
        service = forward.service
        now = asyncio.get_running_loop().time()
        index = self._choose(service, forward.tried, now)
        if index is not None:
            replica = service.replicas[index]
            replica.in_flight += 1
            service.in_flight += 1
            forward.go_to(replica, now)
        elif any(replica not in forward.tried for replica in service.replicas):
            forward.wait()
            service.waiting.append(forward)
        elif not service.replicas and service.backend.hold_seconds:
            forward.wait()
            service.waiting.append(forward)
            for wake in self.wakers:
                wake(service.backend.name)
        else:
            forward.fail(503, f"cannot connect to any replica: {forward.last_cause}")

    def dispatch_waiting(self, service: Service) -> None:
        """Give waiting requests to replicas that have room."""
        while service.waiting and self._choose(service, set(), asyncio.get_running_loop().time()) is not None:
            self.dispatch(cast(Forward, service.waiting.popleft()))

    def ended(self, forward: Forward) -> None:
        """Forget a request."""
        self._active.discard(forward)

    def _choose(self, service: Service, tried: set[Replica], now: float) -> int | None:
        limit = service.backend.concurrency
        replicas = service.replicas
        if len(replicas) == 1 and not tried:
            return 0 if not limit or replicas[0].in_flight < limit else None
        loads = [Load(replica.in_flight, replica.health.is_ejected(now), replica in tried) for replica in replicas]
        return choose(loads, self.draw(), limit)

    def _refusal(self, head: Head, service: Service) -> tuple[int, str] | None:
        """Return why a request is not even begun, with its status."""
        if (head.get(b"upgrade") or b"").lower() == b"websocket":
            return 501, "WebSocket is not supported by this gateway: send plain HTTP requests"
        backend = service.backend
        if not service.replicas and not backend.hold_seconds:
            return 503, backend.why_empty or f"backend {backend.name} has no replica"
        if len(self._active) >= IN_FLIGHT_MAX:
            return 503, f"the gateway has {IN_FLIGHT_MAX} requests in flight, its most"
        if service.present >= BACKEND_IN_FLIGHT_MAX:
            return 503, f"the backend has {BACKEND_IN_FLIGHT_MAX} requests in flight, its most"
        slots = backend.concurrency * max(1, len(service.replicas))
        if backend.concurrency and len(service.waiting) >= QUEUE_PER_CONCURRENCY * slots:
            return 503, "pending request queue full"
        return None

    def _fail_waiting(self, service: Service, why: str) -> None:
        while service.waiting:
            cast(Forward, service.waiting.popleft()).fail(503, why)

    def _sweep(self) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        for forward in [forward for forward in self._active if forward.deadline <= now]:
            forward.expire()
        for service in self.services.values():
            for replica in service.replicas:
                replica.close_idle(now - IDLE_SECONDS_MAX)
        self._sweeper = loop.call_later(SWEEP_SECONDS, self._sweep)


class Forward:
    """One request on its way to a replica, and its answer on the way back."""

    __slots__ = (
        "_attempts",
        "_began",
        "_client_blocked",
        "_ended",
        "_gateway",
        "_head",
        "_head_sent",
        "_id",
        "_over",
        "_pending",
        "_replica",
        "_route",
        "_status",
        "_upstream",
        "connection",
        "deadline",
        "last_cause",
        "service",
        "tried",
    )

    def __init__(self, gateway: Gateway, service: Service, route: Route, head: Head, connection: Connection) -> None:
        self._gateway = gateway
        self.service = service
        self.connection = connection
        self.tried: set[Replica] = set()
        """Replicas that it could not connect to."""
        self.last_cause = ""
        self._route = route
        self._head = head
        self._pending: list[bytes] = []  # body pieces that came before the connection to the replica: at most one read
        self._ended = False  # the client's request has arrived whole
        self._head_sent = False  # bytes of this request went to a replica: from now on no other may get it
        self._over = False
        self._attempts = 0
        self._client_blocked = False
        self._status = 0
        self._id = b""
        self._replica: Replica | None = None
        self._upstream: Upstream | None = None
        self._began = asyncio.get_running_loop().time()
        service.count(1, self._began)
        self.deadline = self._began + route.timeout_seconds

    # What the gateway calls.

    def go_to(self, replica: Replica, now: float) -> None:
        """Use a replica; its and the service's in-flight counts hold this request already."""
        self._replica = replica
        self._attempts += 1
        upstream = replica.take_idle(now)
        if upstream is not None:
            self._attach(upstream)
        else:
            self.connection.pause_reading()
            self._gateway.tasks.start(f"connect to {replica.endpoint.pod}", self._connect(replica))

    def wait(self) -> None:
        """Stand in the queue; the client's body waits with it."""
        self.connection.pause_reading()

    def fail(self, status: int, why: str) -> None:
        """Answer with an error of the gateway's, or cut an answer that has begun."""
        begun = self._status != 0
        self._leave(status)
        if begun:
            self.connection.abort()
            return
        pod = self._replica.endpoint.pod if self._replica is not None else None
        body = answers.error(why, backend=self.service.backend.name, pod=pod, route=self._route.source)
        self.connection.respond(status, answers.headers(status), body)

    def expire(self) -> None:
        """End what took longer than its timeout."""
        seconds = f"{self._route.timeout_seconds:g} s"
        if self._replica is None:
            self.service.waiting.remove(self)
            self.fail(503, f"no replica was free within {seconds}")
        elif self._status:
            self.fail(504, f"the answer paused for over {seconds}")
        else:
            self.fail(504, f"request timeout: no answer began within {seconds}")

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
        """Cancel at the replica what its client no longer wants."""
        if not self._over:
            if self._replica is None:
                self.service.waiting.remove(self)
            self._leave(0)

    def on_writable(self, writable: bool) -> None:
        """Let the replica wait for the client; meanwhile the client's own deadline counts, not ours."""
        if self._upstream is None:
            return
        self._client_blocked = not writable
        if writable:
            self._touch()
            self._upstream.resume_reading()
        else:
            self.deadline = _NEVER
            self._upstream.pause_reading()

    # What the replica's connection calls.

    def on_response(self, head: ResponseHead, body: bytes, complete: bool) -> None:
        """Pass the answer's head on, in one write with its body if that is all."""
        self._status = head.status
        headers = head.headers if head.has_request_id else [*head.headers, (b"x-request-id", self._id)]
        connection = self.connection
        bodiless = self._head.method == "HEAD" or head.status in (204, 304)
        if complete:
            self._finish()
            if not bodiless:
                connection.respond(head.status, headers, body)
                return
        else:
            self._touch()
        connection.start(head.status, headers, head.length)
        if not bodiless:
            connection.write(body)
        if complete:
            connection.finish()

    def on_response_body(self, body: bytes, complete: bool) -> None:
        """Pass a piece of the answer on."""
        if complete:
            self._finish()
        else:
            self._touch()
        self.connection.write(body)
        if complete:
            self.connection.finish()

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
            self.connection.resume_reading()
        else:
            self.connection.pause_reading()

    # Inside.

    async def _connect(self, replica: Replica) -> None:
        try:
            upstream = await replica.connect()
        except (OSError, TimeoutError) as error:
            if not self._over:
                self._count_failure()
                self.tried.add(replica)
                self._try_again(_connect_cause(error))
            return
        if self._over:
            upstream.close()
        else:
            self._attach(upstream)

    def _attach(self, upstream: Upstream) -> None:
        self._upstream = upstream
        self.connection.resume_reading()
        upstream.begin(self, self._head.method == "HEAD")
        pending, self._pending = self._pending, []
        for piece in pending:
            self._send(piece)
        if self._ended:
            self._send_end()

    def _send(self, data: bytes) -> None:
        """Send a piece of the body, behind the head if that waits for it."""
        if self._head.chunked:
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
        route = self._route
        data, self._id = request_head(self._head, route.target, route.authority, self.connection.peer, os.urandom(16).hex().encode())
        return data

    def _try_again(self, cause: str) -> None:
        """Leave a connection that has not seen a byte of the request."""
        replica = cast(Replica, self._replica)
        self.last_cause = cause
        self._replica = None
        self._give_back(replica)
        if self._attempts >= ATTEMPTS_MAX:
            self.fail(503, f"cannot connect to a replica after {self._attempts} attempts: {cause}")
        else:
            self._gateway.dispatch(self)

    def _count_failure(self) -> None:
        replica = cast(Replica, self._replica)
        now = asyncio.get_running_loop().time()
        was = replica.health
        replica.health = was.after_failure(now)
        if replica.health.ejections > was.ejections:
            self.service.numbers.ejections += 1
            _log.warning(
                "replica %s fails to take requests; left alone for %.0f s", replica.endpoint.pod, replica.health.ejected_until - now
            )

    def _finish(self) -> None:
        """End well: the connection has gone back to its replica by itself."""
        if self._replica is not None and self._replica.health is not HEALTHY:
            self._replica.health = HEALTHY
        self._upstream = None
        self._leave(self._status)

    def _leave(self, status: int) -> None:
        """Count, give everything back, let the next request in."""
        self._over = True
        self.deadline = _NEVER
        now = asyncio.get_running_loop().time()
        self.service.numbers.count(status, now - self._began)
        self.service.count(-1, now)
        self._gateway.ended(self)
        if self._upstream is not None:
            self._upstream.cut()
            self._upstream = None
        if self._replica is not None:
            self._give_back(self._replica)

    def _give_back(self, replica: Replica) -> None:
        replica.in_flight -= 1
        self.service.in_flight -= 1
        if self.service.waiting:
            self._gateway.dispatch_waiting(self.service)

    def _touch(self) -> None:
        if not self._client_blocked:
            self.deadline = asyncio.get_running_loop().time() + self._route.timeout_seconds


def _connect_cause(error: OSError | TimeoutError) -> str:
    if isinstance(error, ConnectionRefusedError):
        return "connection refused"
    if isinstance(error, TimeoutError):
        return "connecting took too long"
    return os.strerror(error.errno) if error.errno else "connecting failed"
