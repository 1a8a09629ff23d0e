"""The gateway's hands: take a request, ask the table, pass it to a replica and the answer back.

``Gateway`` is the application of a ``foundation.http1.Server``; each request becomes a ``Passage`` of its protocol (``forward``,
``grpc_call``), which carries its bytes.

At most one execution: a request goes to another replica only while not one byte of it has been written to any (connecting failed, or a
kept-alive connection turned out to be closed before its first use). Afterwards a lost connection is an error with its cause, no retry.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from time import monotonic

from flambeau.foundation.http1 import ANSWERED, Connection, Exchange, Head
from flambeau.foundation.tasks import TaskOwner
from flambeau.gateway import answers
from flambeau.gateway.balance import Load, choose
from flambeau.gateway.breaker import HEALTHY
from flambeau.gateway.clients import Budget, Nobody
from flambeau.gateway.document import Document
from flambeau.gateway.effects import Reply
from flambeau.gateway.forward import Forward, Known
from flambeau.gateway.grpc_door import begin_call
from flambeau.gateway.headers import post_head
from flambeau.gateway.http2_front import Front, Stream
from flambeau.gateway.metrics import Numbers, Reading
from flambeau.gateway.passage import Client, Passage
from flambeau.gateway.sidecar import Sidecar
from flambeau.gateway.table import Detour, Miss, Route, Table
from flambeau.gateway.treatment import Delayed, treat
from flambeau.gateway.upstream import Replica, Service

IN_FLIGHT_MAX = 4096
"""Requests in the gateway, waiting ones included."""
BACKEND_IN_FLIGHT_MAX = 2048
"""Requests of one backend, so that one can't take the whole gateway."""
QUEUE_PER_CONCURRENCY = 10
"""Waiting requests per slot where a revision limits its concurrency, as Knative's queue-proxy has it."""
POST_SECONDS_MAX = 10.0
"""For a request of the gateway's own."""
LEAVING_LOOK_SECONDS = 0.005
"""Between two looks at what former replicas still answer."""
WRITE_SECONDS_MAX = 5.0
"""For loggers' files when the gateway ends."""
SWEEP_SECONDS = 0.1
"""Deadlines are looked at this often, all at once."""


class Gateway:
    """Route requests to replicas, by a table that is swapped whole.

    Args:
        address: ``host:port`` where clients reach this gateway, for examples in answers.
        draw: returns random numbers in [0, 1).
        scheme: what clients speak: http, or https.
    """

    def __init__(self, address: str, draw: Callable[[], float] = random.random, scheme: bytes = b"http") -> None:
        self.address = address
        self.scheme = scheme
        self.table = Table(Document(version=0))
        self.services: dict[str, Service] = {}
        self.misses = Numbers()
        self.draw = draw
        self.tasks = TaskOwner("gateway")
        self.writers = TaskOwner("writers")
        """Of loggers' files: they may go on for a while when the gateway ends."""
        self.wakers: set[Callable[[str], None]] = set()
        """Called with a backend's name when a request begins to wait for its first replica."""
        self.budget = Budget()
        """Of bodies that are kept to be copied, logged, compared or put into batches."""
        self.delayed: set[Delayed] = set()
        self.copies_under_way = 0
        self.copies_dropped = 0
        self.active: set[Passage] = set()
        """Requests that have begun and not ended."""
        self._turn = 0  # tables that were served so far
        self._leaving: list[Replica] = []
        self._fronts: set[Front] = set()
        self._sweeper: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Begin to watch deadlines."""
        self._sweep()

    async def close(self) -> None:
        """Cut what still runs, close idle connections, write what loggers' files are to hold, end tasks."""
        if self._sweeper is not None:
            self._sweeper.cancel()
        for held in self.delayed:
            held.timer.cancel()
        for passage in tuple(self.active):
            passage.client.abort()
            passage.on_abort()
        for service in self.services.values():
            service.retire()
            if service.sidecar is not None:
                service.sidecar.flush()
        await self.tasks.close()
        await self.writers.settle(WRITE_SECONDS_MAX)
        await self.writers.close()

    def serve(self, table: Table) -> None:
        """Serve another table from now on; requests under way keep what they have."""
        for name in [name for name in self.services if name not in table.backends]:
            gone = self.services.pop(name)
            self._leaving += gone.retire()
            if gone.sidecar is not None:
                gone.sidecar.close()
            self._fail_waiting(gone, f"backend {name} is gone")
        for name, backend in table.backends.items():
            service = self.services.get(name)
            if service is None:
                service = self.services[name] = Service(backend)
                service.sidecar = self._sidecar(service)
                continue
            self._leaving += service.update(backend)
            service.sidecar = self._sidecar(service)
            if not backend.endpoints and not backend.hold_seconds:
                self._fail_waiting(service, backend.why_empty or f"backend {name} has no replica")
            self.dispatch_waiting(service)
        self.table = table
        self._turn += 1

    async def let_leave(self, seconds: float) -> None:
        """Wait until the replicas that are in no table any more have answered what they have; they may be stopped then.

        Args:
            seconds: the most; what takes longer is the replica's own to finish when it is told to end.
        """
        deadline = monotonic() + seconds
        while self._leaving and monotonic() < deadline:
            self._leaving = [replica for replica in self._leaving if replica.in_flight]
            if self._leaving:
                await asyncio.sleep(LEAVING_LOOK_SECONDS)

    def readings(self) -> list[Reading]:
        """Return the numbers of each backend now, and of requests that found none."""
        named = [
            Reading(
                name,
                service.numbers,
                service.in_flight,
                len(service.waiting),
                *(service.sidecar.numbers() if service.sidecar is not None else ()),
            )
            for name, service in self.services.items()
        ]
        return [Reading("", self.misses), *named]

    def application(self, head: Head, client: Client) -> Exchange:
        """Begin an HTTP request."""
        known = head.kept
        if not isinstance(known, Known):
            head.kept = known = Known()
        found: Route | Detour | Reply | Miss
        if known.route is not None and known.turn == self._turn:
            found = known.route
        else:
            found = self.route(head)
            known.route = found if isinstance(found, Route) and not found.is_drawn else None
            known.turn = self._turn
        if not isinstance(found, Route) or found.effects is not None:
            return treat(self, head, client, found)
        return self.enter(found, head, client)

    def enter(self, route: Route, head: Head, client: Client) -> Exchange:
        """Bring a request to its backend."""
        service = self.services[route.backend.name]
        if service.sidecar is not None:
            return service.sidecar.begin(route, head, client)
        return self.forward(service, route, head, client)

    def forward(self, service: Service, route: Route, head: Head, client: Client) -> Exchange:
        """Give a request to a replica of its backend."""
        why = self.refusal(service)
        if why is not None:
            service.numbers.count(503, 0.0)
            client.respond(503, answers.headers(503), answers.error(why, backend=route.backend.name, route=route.source))
            return ANSWERED
        forward = Forward(self, service, route, head, client)
        self.dispatch(forward)
        return forward

    async def post_inside(self, host: str, target: str, headers: Sequence[tuple[str, str]], body: bytes) -> int | None:
        """Send a POST of the gateway's own to one of its hosts.

        Returns:
            the answer's status; 504 after POST_SECONDS_MAX; None if it leads to no such host.

        Cancel: the request is cancelled at its replica.
        """
        if not self.table.names(host):
            return None
        head = post_head(host, target, headers, len(body))
        answered: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        client = Nobody(self.budget, lambda answer: None if answered.done() else answered.set_result(answer.status), "127.0.0.1")
        exchange = self.application(head, client)
        try:
            async with asyncio.timeout(POST_SECONDS_MAX):
                exchange.on_body(body)
                exchange.on_end()
                return await answered
        except TimeoutError:
            return 504
        finally:
            if not client.is_answered:
                exchange.on_abort()

    def http2(self, connection: Connection) -> Exchange:
        """Take a connection over that speaks HTTP/2."""
        front = Front(connection, self.application, self._call, self._fronts.discard)
        self._fronts.add(front)
        return front

    def drain(self) -> None:
        """Ask clients that speak HTTP/2 to begin nothing more; the server does so with those of HTTP/1.1."""
        for front in tuple(self._fronts):
            front.drain()

    def route(self, head: Head) -> Route | Detour | Reply | Miss:
        """Return where a request goes, or what answers it; one that goes nowhere is counted."""
        found = self.table.route(head.host, head.path, head.query, head.method, head.headers, self.draw())
        if isinstance(found, Miss):
            self.misses.count(answers.miss_status(found), 0.0)
        return found

    def refusal(self, service: Service) -> str | None:
        """Return why a request is not even begun (503)."""
        backend = service.backend
        if not service.replicas and not backend.hold_seconds:
            return backend.why_empty or f"backend {backend.name} has no replica"
        if len(self.active) >= IN_FLIGHT_MAX:
            return f"the gateway has {IN_FLIGHT_MAX} requests in flight, its most"
        if service.present >= BACKEND_IN_FLIGHT_MAX:
            return f"the backend has {BACKEND_IN_FLIGHT_MAX} requests in flight, its most"
        slots = backend.concurrency * max(1, len(service.replicas))
        if backend.concurrency and len(service.waiting) >= QUEUE_PER_CONCURRENCY * slots:
            return "pending request queue full"
        return None

    def dispatch(self, passage: Passage) -> None:
        """Give a request to the replica that has the fewest in flight, or let it wait for one."""
        self.active.add(passage)
        service = passage.service
        now = monotonic()
        index = self._choose(service, passage.tried, now)
        if index is not None:
            replica = service.replicas[index]
            replica.in_flight += 1
            service.in_flight += 1
            passage.go_to(replica, now)
        elif any(replica not in passage.tried for replica in service.replicas):
            passage.wait()
            service.waiting.append(passage)
        elif not service.replicas and service.backend.hold_seconds:
            passage.wait()
            service.waiting.append(passage)
            for wake in self.wakers:
                wake(service.backend.name)
        else:
            passage.fail(503, f"cannot connect to any replica: {passage.last_cause}")

    def dispatch_waiting(self, service: Service) -> None:
        """Give waiting requests to replicas that have room."""
        while service.waiting and self._choose(service, set(), monotonic()) is not None:
            self.dispatch(service.waiting.popleft())

    def _call(self, head: Head, stream: Stream) -> Exchange:
        return begin_call(self, head, stream)

    def _sidecar(self, service: Service) -> Sidecar | None:
        if Sidecar.is_wanted(service.backend):
            return Sidecar(self, service, service.sidecar)
        if service.sidecar is not None:
            service.sidecar.close()
        return None

    def _choose(self, service: Service, tried: set[Replica], now: float) -> int | None:
        limit = service.backend.concurrency
        replicas = service.replicas
        if len(replicas) == 1 and not tried:
            return 0 if not limit or replicas[0].in_flight < limit else None
        loads = [
            Load(replica.in_flight, replica.health is not HEALTHY and replica.health.is_ejected(now), replica in tried)
            for replica in replicas
        ]
        return choose(loads, self.draw(), limit)

    def _fail_waiting(self, service: Service, why: str) -> None:
        while service.waiting:
            service.waiting.popleft().fail(503, why)

    def _sweep(self) -> None:
        loop = asyncio.get_running_loop()
        now = monotonic()
        for passage in [passage for passage in self.active if passage.deadline <= now]:
            passage.expire()
        for service in self.services.values():
            for replica in service.replicas:
                replica.close_idle(now)
        self._sweeper = loop.call_later(SWEEP_SECONDS, self._sweep)
