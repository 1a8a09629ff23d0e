"""What every request has on its way to a replica, whatever its protocol: a place in the queue, a deadline, a replica, a count.

``proxy`` gives passages to replicas; ``forward`` (HTTP) and ``grpc_call`` carry the bytes. At most one execution: a passage goes to
another replica only while not one byte of it has been written to any.
"""

from __future__ import annotations

import itertools
import logging
import os
from abc import ABC, abstractmethod
from collections.abc import Sequence
from time import monotonic
from typing import TYPE_CHECKING, Protocol, cast

from flambeau.gateway.breaker import HEALTHY
from flambeau.gateway.table import Route
from flambeau.gateway.upstream import Replica, Service

if TYPE_CHECKING:
    from flambeau.gateway.proxy import Gateway

_NEVER = float("inf")
_ID_BEGIN = os.urandom(10).hex().encode()
"""Of every id that this process gives; a counter follows, which is much cheaper than chance for each and as unique."""
_id_numbers = itertools.count(int.from_bytes(os.urandom(5), "big"))
_log = logging.getLogger(__name__)


class Client(Protocol):
    """Who asked: a connection of HTTP/1.1 or a stream of HTTP/2; the methods are ``foundation.http1.Connection``'s."""

    @property
    def peer(self) -> str:
        """The client's address without its port."""
        ...

    def respond(self, status: int, headers: Sequence[tuple[bytes, bytes]], body: bytes) -> None:
        """Send a whole answer."""

    def start(self, status: int, headers: Sequence[tuple[bytes, bytes]], length: int | None) -> None:
        """Send an answer's head."""

    def write(self, data: bytes) -> None:
        """Send a piece of the answer's body."""

    def finish(self) -> None:
        """End a started answer."""

    def switch(self, headers: Sequence[tuple[bytes, bytes]]) -> None:
        """Answer 101; HTTP/1.1 only."""

    def abort(self) -> None:
        """Cut the answer off."""

    def pause_reading(self) -> None:
        """Take no more of the request for now."""

    def resume_reading(self) -> None:
        """Take the request again."""


class Passage(ABC):
    """One request on its way to a replica.

    Args:
        gateway: whom it passes.
        service: the backend that it goes to.
        route: how.
        client: who asked.
    """

    __slots__ = (
        "_attempts",
        "_began",
        "_client_blocked",
        "_gateway",
        "_over",
        "_replica",
        "_route",
        "_status",
        "client",
        "deadline",
        "last_cause",
        "service",
        "tried",
    )

    def __init__(self, gateway: Gateway, service: Service, route: Route, client: Client) -> None:
        self._gateway = gateway
        self.service = service
        self.client = client
        self.tried: set[Replica] = set()
        """Replicas that it could not connect to."""
        self.last_cause = ""
        self._route = route
        self._over = False
        self._attempts = 0
        self._client_blocked = False
        self._status = 0  # of the answer, once it has begun
        self._replica: Replica | None = None
        self._began = now = monotonic()
        service.count(1, now)
        self.deadline = now + route.timeout_seconds

    # What the gateway calls.

    @abstractmethod
    def go_to(self, replica: Replica, now: float) -> None:
        """Use a replica; its and the service's in-flight counts hold this request already."""

    def wait(self) -> None:
        """Stand in the queue; the client's body waits with it."""
        self.client.pause_reading()

    def fail(self, status: int, why: str) -> None:
        """Answer with an error of the gateway's, or cut an answer that has begun."""
        begun = self._status != 0
        self._drop()
        self._leave(status)
        self._refuse(status, why, begun)

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

    def on_abort(self) -> None:
        """Cancel at the replica what its client no longer wants."""
        if not self._over:
            if self._replica is None:
                self.service.waiting.remove(self)
            self._drop()
            self._leave(0)

    # What a protocol does in its way.

    @abstractmethod
    def _refuse(self, status: int, why: str, begun: bool) -> None:
        """Tell the client of an error, in an answer of its own or by breaking off the one that has begun."""

    @abstractmethod
    def _drop(self) -> None:
        """Stop what goes on with the replica, if anything does."""

    # What all protocols have in common.

    def _connection_failed(self, error: OSError | TimeoutError) -> None:
        if not self._over:
            self._count_failure()
            self.tried.add(cast(Replica, self._replica))
            self._try_again(_connect_cause(error))

    def _try_again(self, cause: str) -> None:
        """Leave a connection that has not seen a byte of the request."""
        replica = cast(Replica, self._replica)
        self.last_cause = cause
        self._replica = None
        self._give_back(replica)
        if self._attempts >= self._route.attempts:
            self.fail(503, f"cannot connect to a replica after {self._attempts} attempts: {cause}")
        else:
            self._gateway.dispatch(self)

    def _count_failure(self) -> None:
        replica = cast(Replica, self._replica)
        now = monotonic()
        was = replica.health
        replica.health = was.after_failure(now)
        if replica.health.ejections > was.ejections:
            self.service.numbers.ejections += 1
            _log.warning(
                "replica %s fails to take requests; left alone for %.0f s", replica.endpoint.pod, replica.health.ejected_until - now
            )

    def _succeed(self, status: int) -> None:
        """End well: nothing is left to do with the replica."""
        if self._replica is not None and self._replica.health is not HEALTHY:
            self._replica.health = HEALTHY
        self._leave(status)

    def _leave(self, status: int) -> None:
        """Count, give everything back, let the next request in."""
        self._over = True
        self.deadline = _NEVER
        now = monotonic()
        service = self.service
        service.numbers.count(status, now - self._began)
        service.count(-1, now)
        self._gateway.active.discard(self)
        if self._replica is not None:
            self._give_back(self._replica)

    def _give_back(self, replica: Replica) -> None:
        replica.in_flight -= 1
        service = self.service
        service.in_flight -= 1
        if service.waiting:
            self._gateway.dispatch_waiting(service)

    def _touch(self) -> None:
        if not self._client_blocked:
            self.deadline = monotonic() + self._route.timeout_seconds

    def _block(self, blocked: bool) -> None:
        """Note that the client does not read: meanwhile its own deadline counts, not ours."""
        self._client_blocked = blocked
        if blocked:
            self.deadline = _NEVER
        else:
            self._touch()


def fresh_id() -> bytes:
    """Return an id for a request that came without one: 32 hexadecimal digits."""
    return b"%b%012x" % (_ID_BEGIN, next(_id_numbers) & 0xFFFFFFFFFFFF)


def _connect_cause(error: OSError | TimeoutError) -> str:
    if isinstance(error, ConnectionRefusedError):
        return "connection refused"
    if isinstance(error, TimeoutError):
        return "connecting took too long"
    return os.strerror(error.errno) if error.errno else str(error) or "connecting failed"
