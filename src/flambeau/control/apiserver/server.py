"""The API server: which paths there are, and its start and stop.

``programs`` makes one per process; everything that users do to the platform comes through here.
"""

from __future__ import annotations

import ipaddress
import logging
import secrets
from pathlib import Path

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from flambeau.control.apiserver import certificates, discovery, kubeconfig, openapi, openapi_v2, paths, status
from flambeau.control.apiserver.answers import json_answer, status_answer
from flambeau.control.apiserver.guard import Guard
from flambeau.control.apiserver.listener import Listener
from flambeau.control.apiserver.pods import Pods
from flambeau.control.apiserver.resources import Resources
from flambeau.control.apiserver.streams import Streams
from flambeau.control.resources.kind import Object
from flambeau.control.resources.registry import Registry
from flambeau.control.store.interface import Store
from flambeau.foundation.clock import Clock
from flambeau.foundation.tasks import TaskOwner

_log = logging.getLogger(__name__)

_RESOURCE_METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"]


class ApiServer:
    """Serve a store over HTTPS as Kubernetes serves its own.

    Args:
        store: where objects are.
        kinds: which there are.
        pods: the agent's side of pods' subresources.
        home: keys, certificates and the token go to ``home/pki``, the kubeconfig to ``home/kubeconfig``.
        clock: where time comes from.
        host_names: names that clients use besides local ones and addresses.
    """

    def __init__(self, store: Store, kinds: Registry, pods: Pods, *, home: Path, clock: Clock, host_names: tuple[str, ...] = ()) -> None:
        self._kinds = kinds
        self._home = home
        self._clock = clock
        self._host_names = host_names
        self._streams = Streams()
        self._tasks = TaskOwner("apiserver answers")
        self._resources = Resources(store, kinds, pods, clock, self._streams, self._tasks)
        self._listener: Listener | None = None
        self._stopping = False
        self.url = ""
        """``https://127.0.0.1:7443`` once started."""

    @property
    def kubeconfig(self) -> Path:
        """Return where the kubeconfig is written."""
        return self._home / "kubeconfig"

    @property
    def open_streams(self) -> int:
        """Return how many watches and followed logs are running."""
        return len(self._streams)

    async def start(self, host: str, port: int) -> None:
        """Listen, then write the kubeconfig.

        Args:
            host: an address or name of this machine.
            port: 0 takes a free one; ``url`` says which.

        Raises:
            Unavailable: the address or the folder can't be had.
        """
        identity = certificates.prepare(self._home / "pki", _certified((host, *self._host_names)), now=self._clock.wall())
        guard = Guard(self.application(), token=identity.token, host_names=frozenset(name.lower() for name in (host, *self._host_names)))
        self._listener = Listener(guard, identity)
        port = await self._listener.start(host, port)
        self.url = f"https://{_reachable(host)}:{port}"
        kubeconfig.write(self.kubeconfig, server=self.url, authority=identity.authority, token=identity.token)

    async def stop(self, drain_seconds: float = 5.0) -> None:
        """End watches, finish what runs, stop listening.

        Args:
            drain_seconds: what has not ended by then is cut.

        Cancel: may be called again.
        """
        self._stopping = True
        self._streams.end_all()
        if self._listener is not None:
            await self._listener.stop(drain_seconds)
        await self._tasks.close()

    def application(self) -> ASGIApp:
        """Return the routes, unguarded."""
        routes = [
            Route("/livez", self._live),
            Route("/healthz", self._ready),
            Route("/readyz", self._ready),
            Route("/version", self._version),
            Route("/", self._root),
            Route("/api", self._core),
            Route("/apis", self._groups),
            Route("/api/{version}", self._resource_list),
            Route("/apis/{group}", self._group),
            Route("/apis/{group}/{version}", self._resource_list),
            Route("/openapi/v2", self._openapi_v2),
            Route("/openapi/v3", self._openapi_index),
            Route("/openapi/v3/{place:path}", self._openapi_document),
            Route("/api/{version}/{rest:path}", self._resource, methods=_RESOURCE_METHODS),
            Route("/apis/{group}/{version}/{rest:path}", self._resource, methods=_RESOURCE_METHODS),
        ]
        handlers = {HTTPException: _http_error, ClientDisconnect: _client_gone}
        return Starlette(routes=routes, exception_handlers=handlers)  # type: ignore[arg-type]  # each handler takes its own exception

    async def _live(self, _: Request) -> Response:
        return PlainTextResponse("ok")

    async def _ready(self, _: Request) -> Response:
        return PlainTextResponse("shutting down", 503) if self._stopping else PlainTextResponse("ok")

    async def _version(self, _: Request) -> Response:
        return json_answer(discovery.version_info())

    async def _root(self, _: Request) -> Response:
        return json_answer({"paths": discovery.roots(self._kinds)})

    async def _core(self, request: Request) -> Response:
        return self._discovered(request, discovery.core_versions(), core=True)

    async def _groups(self, request: Request) -> Response:
        return self._discovered(request, discovery.group_list(self._kinds), core=False)

    def _discovered(self, request: Request, legacy: Object, *, core: bool) -> Response:
        if discovery.wants_aggregated(request.headers.get("accept", "")):
            return json_answer(discovery.aggregated(self._kinds, core=core), media_type=discovery.AGGREGATED_TYPE)
        return json_answer(legacy)

    async def _group(self, request: Request) -> Response:
        return _found(discovery.group_document(self._kinds, request.path_params["group"]))

    async def _resource_list(self, request: Request) -> Response:
        group, version = request.path_params.get("group", ""), request.path_params["version"]
        return _found(discovery.resource_list(self._kinds, group, version))

    async def _openapi_v2(self, request: Request) -> Response:
        if openapi_v2.PROTOBUF_ACCEPTED in request.headers.get("accept", ""):
            return Response(openapi_v2.protobuf(self._kinds), media_type=openapi_v2.PROTOBUF_TYPE)
        return json_answer(openapi_v2.document(self._kinds))

    async def _openapi_index(self, _: Request) -> Response:
        return json_answer(openapi.index(self._kinds))

    async def _openapi_document(self, request: Request) -> Response:
        place = openapi.parse_place(request.path_params["place"])
        return _found(openapi.document(self._kinds, *place) if place else None)

    async def _resource(self, request: Request) -> Response:
        path = paths.parse(request.scope["raw_path"].decode("ascii"))
        if path is None:
            return _found(None)
        try:
            return await self._resources.answer(request, path)
        except ClientDisconnect:
            raise
        except Exception:
            error_id = secrets.token_hex(4)
            _log.exception("request failed", extra={"fields": {"error_id": error_id, "method": request.method, "path": request.url.path}})
            return status_answer(
                status.failure(500, "InternalError", f"an internal error occurred; its id in the server's log is {error_id}")
            )


def _found(value: Object | None) -> Response:
    if value is None:
        return status_answer(status.failure(404, "NotFound", "the server could not find the requested resource"))
    return json_answer(value)


async def _http_error(_: Request, error: HTTPException) -> Response:
    """Answer what no route takes, as Kubernetes does."""
    if error.status_code == 405:
        return status_answer(status.failure(405, "MethodNotAllowed", "the server does not allow this method on the requested resource"))
    return _found(None)


async def _client_gone(_: Request, __: ClientDisconnect) -> Response:
    """Nobody reads this answer: the client went while it was sending."""
    return Response(status_code=400)


def _certified(hosts: tuple[str, ...]) -> tuple[str, ...]:
    """Return the hosts that a certificate can name: not the address that stands for all."""
    return tuple(host for host in hosts if not _is_any(host))


def _reachable(host: str) -> str:
    """Return a listening host as clients on this machine write it in a URL."""
    if _is_any(host):
        return "127.0.0.1"
    return f"[{host}]" if ":" in host else host


def _is_any(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_unspecified
    except ValueError:
        return host == ""
