"""The gateway's doorbell and dials, on a Unix socket that only its user may open.

``POST /reload`` (the routing controller, after it has written the file), ``GET /status`` and ``GET /metrics`` (people, the autoscaler,
Prometheus through the platform), and ``GET /wakes``: a stream of the names of backends for whose first replica a request waits, a line
each. A document that can't be read is refused with the reason; the table that serves stays.
"""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from time import monotonic
from typing import Any

import orjson

from flambeau.foundation.errors import FlambeauError, NotFound, Unavailable
from flambeau.foundation.http1 import ANSWERED, Connection, Exchange, Head
from flambeau.gateway import answers, metrics
from flambeau.gateway.cluster_listeners import ClusterListeners
from flambeau.gateway.document_codec import decode
from flambeau.gateway.proxy import Gateway
from flambeau.gateway.table import Table

SOCKET_NAME = "admin.sock"
ROUTES_NAME = "routes.json"
LEAVING_SECONDS_MAX = 1.0
"""A reload is confirmed at the latest so long after it, whatever its former replicas still answer."""

_log = logging.getLogger(__name__)


def read_table(path: Path) -> Table:
    """Return the table that a file describes; 2000 services take about half a second.

    Raises:
        NotFound: there is no such file.
        Unavailable: it can't be read.
        InvalidInput: it isn't a document, or one that contradicts itself.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError as error:
        raise NotFound(f"there is no routes document at {path}") from error
    except OSError as error:
        raise Unavailable(f"cannot read the routes document {path}: {error.strerror}") from error
    return Table(decode(content))


class Admin:
    """The application behind the admin socket.

    Args:
        gateway: what is asked about.
        routes: the file that a reload reads.
        listeners: what follows the addresses that a document lists.
    """

    def __init__(self, gateway: Gateway, routes: Path, listeners: ClusterListeners) -> None:
        self._gateway = gateway
        self._routes = routes
        self._listeners = listeners
        self._reloading = asyncio.Lock()

    def application(self, head: Head, connection: Connection) -> Exchange:
        """Answer; bodies are not looked at."""
        match head.method, head.path:
            case "POST", b"/reload":
                self._gateway.tasks.start("reload", self._reload(connection))
            case "GET", b"/status":
                connection.respond(200, answers.JSON_HEADERS, orjson.dumps(self._status()))
            case "GET", b"/wakes":
                return _Wakes(self._gateway, connection)
            case "GET", b"/metrics":
                text = metrics.render(self._gateway.readings())
                connection.respond(200, [(b"content-type", b"text/plain; version=0.0.4; charset=utf-8")], text)
            case _:
                body = answers.error("not found", hint="there are POST /reload, GET /status, GET /wakes and GET /metrics")
                connection.respond(404, answers.JSON_HEADERS, body)
        return ANSWERED

    async def _reload(self, connection: Connection) -> None:
        """Read the file beside the loop, which goes on serving; one reload at a time, so that the last bell's file wins."""
        async with self._reloading:
            serving = self._gateway.table.version
            try:
                table = await asyncio.to_thread(read_table, self._routes)
            except FlambeauError as error:
                _log.error("reload refused, version %d goes on serving: %s", serving, error)
                body = answers.error(error.message, hint=error.hint, reason=error.reason, version=serving)
                connection.respond(422, answers.JSON_HEADERS, body)
                return
            try:
                self._gateway.serve(table)
                await self._listeners.follow(table.addresses)
            except Exception as error:
                _log.exception("version %d is not served as a whole, by a defect", table.version)
                connection.respond(500, answers.JSON_HEADERS, answers.error(f"a defect: {error!r}", version=serving))
                return
        # Who hears this may stop the pods that are gone from the table: a program that ends at once would take their requests with it.
        await self._gateway.let_leave(LEAVING_SECONDS_MAX)
        connection.respond(200, answers.JSON_HEADERS, orjson.dumps({"version": table.version}))

    def _status(self) -> dict[str, Any]:
        now = monotonic()
        for service in self._gateway.services.values():
            service.count(0, now)
        return {
            "seconds": now,
            "version": self._gateway.table.version,
            "hosts": len(self._gateway.table.hosts),
            "backends": {
                name: {
                    "in_flight": service.in_flight,
                    "waiting": len(service.waiting),
                    "begun": service.begun,
                    "load_seconds": service.load_seconds,
                    "concurrency": service.backend.concurrency,
                    **(service.sidecar.status() if service.sidecar is not None else {}),
                    "endpoints": [
                        {
                            "pod": replica.endpoint.pod,
                            "address": f"{replica.endpoint.address}:{replica.endpoint.port}",
                            "in_flight": replica.in_flight,
                            "idle_connections": len(replica.idle),
                            "ejected_seconds": round(max(0.0, replica.health.ejected_until - now), 3),
                        }
                        for replica in service.replicas
                    ],
                }
                for name, service in self._gateway.services.items()
            },
        }


class _Wakes:
    """One listener to wakes: its answer never ends by itself."""

    def __init__(self, gateway: Gateway, connection: Connection) -> None:
        self._gateway = gateway
        self._connection = connection
        gateway.wakers.add(self._wake)
        connection.start(200, [(b"content-type", b"text/plain; charset=utf-8")], None)
        connection.write(b"\n")  # the head goes out with it: whoever listens knows that it is heard

    def _wake(self, backend: str) -> None:
        self._connection.write(f"{backend}\n".encode())

    def on_body(self, data: bytes) -> None:
        """Ignore what nobody asked for."""

    def on_end(self) -> None:
        """Go on: the question was all there is."""

    def on_abort(self) -> None:
        """Forget a listener that has gone."""
        self._gateway.wakers.discard(self._wake)

    def on_writable(self, writable: bool) -> None:
        """Leave a slow listener to the connection's own bounds: it gets a few bytes a wake."""
