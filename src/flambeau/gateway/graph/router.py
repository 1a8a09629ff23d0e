"""The router's door: requests in, a run through the graph each, answers out.

``programs.graph_router`` starts it. Bodies are taken whole, within a bound: steps need them whole.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import orjson

from flambeau.foundation.http1 import ANSWERED, Connection, Exchange, Head
from flambeau.foundation.tasks import TaskOwner
from flambeau.gateway.graph.calls import Headers, Services
from flambeau.gateway.graph.decide import Reply, refusal
from flambeau.gateway.graph.run import Run
from flambeau.gateway.graph.spec import Graph

BODY_BYTES_MAX = 64 * 1024 * 1024
"""Of one request."""
REQUESTS_MAX = 1024
"""In flight at once; one more is answered 503."""
SWEEP_SECONDS = 1.0
"""Between two looks at idle connections."""

_log = logging.getLogger(__name__)
_JSON: Final = [(b"content-type", b"application/json")]
_BUSY: Final = [*_JSON, (b"retry-after", b"1")]
_HEALTH_PATHS: Final = frozenset((b"/readyz", b"/v2/health/ready", b"/v2/health/live"))
_ALWAYS_PROPAGATED: Final = frozenset((b"x-request-id", b"traceparent", b"tracestate"))
"""So that one request can be followed through all its steps."""
_NEVER_PROPAGATED: Final = frozenset(
    (b"host", b"content-length", b"content-type", b"transfer-encoding", b"connection", b"expect", b"upgrade", b"te", b"trailer")
)
"""They are about one connection or one body."""


@dataclass(frozen=True, slots=True)
class RouterLimits:
    """What a request may take."""

    seconds: float
    """From its last byte to the answer."""


class Router:
    """Answer requests by a graph.

    Args:
        graph: the steps.
        services: whom they call.
        propagated: patterns of header names that go along to every service; not anchored.
        limits: of a request.
    """

    def __init__(self, graph: Graph, services: Services, propagated: Sequence[re.Pattern[str]], limits: RouterLimits) -> None:
        self.graph = graph
        self.services = services
        self.limits = limits
        self.tasks = TaskOwner("graph router")
        self._propagated = tuple(propagated)
        self._sweeper: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Begin to look after idle connections."""
        loop = asyncio.get_running_loop()
        self.services.close_idle(loop.time())
        self._sweeper = loop.call_later(SWEEP_SECONDS, self.start)

    async def close(self) -> None:
        """End what runs."""
        if self._sweeper is not None:
            self._sweeper.cancel()
        await self.tasks.close()
        self.services.close()

    def application(self, head: Head, connection: Connection) -> Exchange:
        """Begin a request."""
        if head.method in ("GET", "HEAD") and head.path in _HEALTH_PATHS:
            connection.respond(200, _JSON, b'{"ready":true}')
            return ANSWERED
        if head.method != "POST":
            hint = "send the request by POST; GET /readyz tells whether the graph is ready"
            connection.respond(
                405, [*_JSON, (b"allow", b"POST")], orjson.dumps({"error": f"{head.method} is not for a graph", "hint": hint})
            )
            return ANSWERED
        if (head.content_length or 0) > BODY_BYTES_MAX:
            self.refuse(connection, _too_large())
            return ANSWERED
        if len(self.tasks) >= REQUESTS_MAX:
            self.refuse(connection, refusal(503, f"the graph has {REQUESTS_MAX} requests in flight, its most"))
            return ANSWERED
        return _Request(self, self._headers_for_services(head), connection)

    def refuse(self, connection: Connection, reply: Reply) -> None:
        """Answer with an error of the router's own."""
        connection.respond(reply.status, _BUSY if reply.status == 503 else _JSON, reply.body)

    def _headers_for_services(self, head: Head) -> Headers:
        """Return what goes along: JSON always, tracing always, and what the configuration names."""
        kept = [(name, value) for name, value in head.headers if self._goes_along(name.lower())]
        return [(b"content-type", b"application/json"), *kept]

    def _goes_along(self, name: bytes) -> bool:
        if name in _NEVER_PROPAGATED:
            return False
        return name in _ALWAYS_PROPAGATED or any(pattern.search(name.decode("latin-1")) for pattern in self._propagated)


class _Request:
    """One request (http1.Exchange)."""

    __slots__ = ("_connection", "_headers", "_pieces", "_router", "_size", "_task")

    def __init__(self, router: Router, headers: Headers, connection: Connection) -> None:
        self._router = router
        self._headers = headers
        self._connection = connection
        self._pieces: list[bytes] = []
        self._size = 0
        self._task: asyncio.Task[None] | None = None

    def on_body(self, data: bytes) -> None:
        """Take a piece of the body."""
        self._size += len(data)
        if self._size > BODY_BYTES_MAX:
            self._pieces.clear()
            self._router.refuse(self._connection, _too_large())
        else:
            self._pieces.append(data)

    def on_end(self) -> None:
        """Send the request through the graph."""
        self._task = self._router.tasks.start("request", self._run())

    def on_abort(self) -> None:
        """Cancel the calls that nobody waits for any more."""
        if self._task is not None:
            self._task.cancel()

    def on_writable(self, writable: bool) -> None:
        """The answer is one write: nothing could be paused."""

    async def _run(self) -> None:
        router, seconds = self._router, self._router.limits.seconds
        try:
            async with asyncio.timeout(seconds):
                reply = await Run(router.graph, self._call).answer(b"".join(self._pieces))
        except TimeoutError:
            reply = refusal(504, f"the graph has not answered within {seconds:g} s")
        except Exception as error:  # whoever asked is answered all the same
            _log.exception("a request's way through the graph failed by a defect")
            reply = refusal(500, f"the router failed by a defect: {error!r}")
        self._connection.respond(reply.status, _BUSY if reply.status == 503 else _JSON, reply.body)

    async def _call(self, url: str, body: bytes) -> Reply:
        return await self._router.services.call(url, body, self._headers)


def _too_large() -> Reply:
    return refusal(413, f"the request has more than {BODY_BYTES_MAX} bytes")
