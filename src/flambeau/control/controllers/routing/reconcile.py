"""Keep the gateway's document true, and tell services when the gateway follows it.

Two promises hang on the order of things here. A service is shown ``IngressReady`` only after the gateway has confirmed a document with its
endpoints, and no longer before one without them is rung in. A pod that goes is let go only after the gateway has confirmed a document
without it.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from pathlib import Path

import orjson

from flambeau.control.controllers.ingress_config import INGRESS_CONFIG, ingress_config
from flambeau.control.controllers.loop import Controller, Source
from flambeau.control.controllers.names import CORE_SERVICES, GRAPHS, PODS, REVISIONS, SERVICE_LABEL, SERVICES
from flambeau.control.controllers.routing import beside
from flambeau.control.controllers.routing.desired import HTTP_ROUTES, VIRTUAL_SERVICES, Routes, routes
from flambeau.control.controllers.routing.directory import Service, Snapshot, without_traffic
from flambeau.control.controllers.routing.http_routes import parent_statuses
from flambeau.control.controllers.routing.loggers import Loggers
from flambeau.control.controllers.routing.status import Ingress, ingress
from flambeau.control.controllers.sidecar import logger_config
from flambeau.control.controllers.site import is_of_ingress, read_config
from flambeau.control.controllers.turns import Turns
from flambeau.control.resources.conditions import get_condition, set_condition
from flambeau.control.resources.kind import Key, Object
from flambeau.control.resources.lookup import find
from flambeau.control.resources.pod_contract import GATEWAY_FINALIZER
from flambeau.control.store.interface import Store, modify
from flambeau.control.store.recorder import record_event
from flambeau.foundation.ask import ask
from flambeau.foundation.clock import Clock
from flambeau.foundation.errors import NotFound, Unavailable
from flambeau.foundation.files import write_atomically
from flambeau.gateway.document import Document
from flambeau.gateway.document_codec import encode

NAME = "routing-controller"
GATEWAYS = "gateways.networking.istio.io"
INGRESS_READY = "IngressReady"
DOORBELL_SECONDS_MAX = 5.0
"""How long the gateway may take to read the document and answer."""
RETRY_SECONDS_MIN = 0.1
"""Before a gateway that did not answer is rung again; doubled each time."""
RETRY_SECONDS_MAX = 5.0
NEWS_SECONDS = 10.0
"""Between two looks at what shadows and loggers did, where there are any."""
PAUSE_TIMES = 3
"""After a pass, the next one waits so many times as long as it took: with hundreds of services that change, the routes, which are always
made as a whole, still take a quarter of a core, and with a few the pause is not noticed."""
PAUSE_SECONDS_MAX = 0.25
_SNAPSHOT_ATTEMPTS_MAX = 20
_KINDS = (SERVICES, REVISIONS, PODS, VIRTUAL_SERVICES, GATEWAYS, CORE_SERVICES, GRAPHS, HTTP_ROUTES)
_EVERYTHING = Key("routes", "", "all")
_log = logging.getLogger(__name__)


class RoutingReconciler:
    """Hold what reconciling needs, and what the gateway was told last.

    Args:
        store: where everything is.
        clock: for conditions and events.
        home: the platform's directory; the document is ``home/gateway/routes.json``.
        domain: of the services' outside names.
        scheme: what the gateway's clients speak.
    """

    def __init__(self, store: Store, clock: Clock, home: Path, domain: str, scheme: str = "http") -> None:
        self._store = store
        self._clock = clock
        self._file = home / "gateway" / "routes.json"
        self._doorbell = home / "gateway" / "admin.sock"
        self._loggers = Loggers(store, home / "gateway" / "credentials")
        self._domain = domain
        self._scheme = scheme
        self._written: Document | None = None  # so that the first document is written in any case
        self._unconfirmed = "it was not asked yet"
        self._failures = 0
        self._warned: dict[Key, tuple[str, ...]] = {}
        self._seen: Object = {}  # the backends of the gateway's status, as they were told

    def controller(self, turns: Turns) -> Controller:
        """Return the controller of the routes: one key, since the document is written as a whole."""
        sources = (
            *(Source(kind, lambda _: (_EVERYTHING,)) for kind in _KINDS),
            Source(INGRESS_CONFIG.kind, lambda event: (_EVERYTHING,) if is_of_ingress(event) else ()),
        )
        return Controller(NAME, self._store, self._clock, sources, self.reconcile, turns)

    async def reconcile(self, _: Key) -> float | None:
        """Write the document if it changed, ring until it is confirmed, tell services and pods.

        Returns:
            in how many seconds to look again: if the gateway did not confirm, or if something stands beside a backend.

        Raises:
            FlambeauError: the store or the disk refused; everything can be done again.
        """
        began = self._clock.monotonic()
        snapshot, version = await self._snapshot()
        new = await self._loggers.complete(routes(snapshot, self._domain, version, self._scheme), snapshot)
        if not self._is_written(new.document):
            self._unconfirmed = "it was not asked yet"
            await self._tell_services(snapshot, new, only_worse=True)
            await self._write(new.document)
        if self._unconfirmed:
            await self._ring()
            if not self._unconfirmed:
                await self._loggers.clean(new.document)
        await self._tell_services(snapshot, new, only_worse=False)
        if not self._unconfirmed or not self._doorbell.exists():
            await self._let_pods_go(snapshot)
        await self._tell_warnings(snapshot, new)
        if not self._unconfirmed:
            await self._tell_http_routes(snapshot, new)
        await self._clock.sleep(min(PAUSE_SECONDS_MAX, PAUSE_TIMES * (self._clock.monotonic() - began)))
        if self._unconfirmed:
            return self._retry_seconds()
        return await self._tell_news(snapshot, new) if beside.is_wanted(new.document) else None

    async def _snapshot(self) -> tuple[Snapshot, int]:
        """Read everything as of one version of the store, so that no request is sent to what another object says is gone."""
        for _ in range(_SNAPSHOT_ATTEMPTS_MAX):
            listings = [await self._store.list(kind) for kind in _KINDS]
            if len({listing.resource_version for listing in listings}) == 1:
                config = await read_config(self._store)
                found = Snapshot(*(each.items for each in listings), ingress=ingress_config(config), logging=logger_config(config))
                return found, listings[0].resource_version
        raise Unavailable(f"the store changed during each of {_SNAPSHOT_ATTEMPTS_MAX} readings", reason="StoreBusy")

    def _is_written(self, document: Document) -> bool:
        return self._written is not None and replace(document, version=self._written.version) == self._written

    async def _write(self, document: Document) -> None:
        def write() -> None:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(self._file, encode(document), mode=0o600, synced=False)  # made anew at every start

        try:
            await asyncio.to_thread(write)
        except OSError as error:
            raise Unavailable(f"cannot write the gateway's routes to {self._file}: {error.strerror}") from error
        self._written = document

    async def _ring(self) -> None:
        """Ask the gateway to read the document; note whether it did."""
        assert self._written is not None
        try:
            answer = await ask(self._doorbell, "/reload", method="POST", timeout_seconds=DOORBELL_SECONDS_MAX)
            self._unconfirmed = _refusal(answer.status, answer.body, self._written.version)
        except Unavailable as error:
            self._unconfirmed = error.message
        self._failures = self._failures + 1 if self._unconfirmed else 0

    def _retry_seconds(self) -> float:
        return min(RETRY_SECONDS_MAX, RETRY_SECONDS_MIN * 2.0 ** min(self._failures - 1, 20))

    # Telling

    async def _tell_services(self, snapshot: Snapshot, new: Routes, *, only_worse: bool) -> None:
        by_key = {(each.namespace, each.name): each for each in new.directory.services}
        for obj in snapshot.services:
            service = by_key[obj["metadata"]["namespace"], obj["metadata"]["name"]]
            await self._tell_ingress(SERVICES, obj, service, without_traffic(obj), only_worse=only_worse)
        graphs = {(each.namespace, each.name): each for each in new.directory.graphs}
        for obj in snapshot.graphs:
            graph = graphs[obj["metadata"]["namespace"], obj["metadata"]["name"]]
            missing = "" if find(obj, "status", "traffic") else "router"
            await self._tell_ingress(GRAPHS, obj, graph, missing, only_worse=only_worse)

    async def _tell_ingress(self, kind: str, obj: Object, service: Service, missing: str, *, only_worse: bool) -> None:
        told = ingress(service, missing=missing, unconfirmed=self._unconfirmed)
        if not only_worse or (told.status == "False" and _is_true(obj)):
            await self._set_ingress(kind, obj, told)

    async def _set_ingress(self, kind: str, obj: Object, told: Ingress) -> None:
        """Write the one condition that is ours into a status that is the service controller's."""
        old = get_condition(obj, INGRESS_READY) or {}
        was = Ingress(old.get("status", ""), old.get("reason", ""), old.get("message", ""))
        # A gateway that is only slow to confirm a change keeps the old routes, which still lead to this service.
        if was == told or "status" not in obj or (was.status == "True" and told.status == "Unknown"):
            return
        now, uid = self._clock.wall(), obj["metadata"]["uid"]

        def change(stored: Object) -> None:
            if stored["metadata"]["uid"] == uid:
                conditions = stored.setdefault("status", {}).setdefault("conditions", [])
                set_condition(conditions, INGRESS_READY, told.status, told.reason, told.message, now)

        try:
            await modify(self._store, Key(kind, obj["metadata"]["namespace"], obj["metadata"]["name"]), change, status=True)
        except NotFound:
            return

    async def _let_pods_go(self, snapshot: Snapshot) -> None:
        """Take our finalizer off the pods that go: the gateway sends them nothing any more, or there is no gateway."""

        def change(pod: Object) -> None:
            pod["metadata"]["finalizers"] = [name for name in pod["metadata"].get("finalizers") or () if name != GATEWAY_FINALIZER]

        for pod in snapshot.pods:
            metadata = pod["metadata"]
            if metadata.get("deletionTimestamp") and GATEWAY_FINALIZER in (metadata.get("finalizers") or ()):
                try:
                    await modify(self._store, Key(PODS, metadata["namespace"], metadata["name"]), change)
                except NotFound:
                    continue

    async def _tell_warnings(self, snapshot: Snapshot, new: Routes) -> None:
        told = ((VIRTUAL_SERVICES, snapshot.virtual_services), (HTTP_ROUTES, snapshot.http_routes), (SERVICES, snapshot.services))
        for kind, obj in ((kind, obj) for kind, objects in told for obj in objects):
            key = Key(kind, obj["metadata"]["namespace"], obj["metadata"]["name"])
            warnings = new.warnings.get(key)
            if warnings and warnings != self._warned.get(key):
                await record_event(self._store, self._clock, obj, "Warning", "NotServed", "; ".join(warnings), NAME)
        self._warned = {key: warnings for key, warnings in new.warnings.items() if warnings}

    async def _tell_http_routes(self, snapshot: Snapshot, new: Routes) -> None:
        """Tell each HTTPRoute how it stands, now that the gateway follows it."""
        for route, compiled in zip(snapshot.http_routes, new.http_routes, strict=True):
            parents = parent_statuses(route, compiled, self._clock.wall())
            if parents == (find(route, "status", "parents") or []):
                continue

            def change(stored: Object, parents: list[Object] = parents) -> None:
                stored.setdefault("status", {})["parents"] = parents

            try:
                await modify(self._store, Key(HTTP_ROUTES, route["metadata"]["namespace"], route["metadata"]["name"]), change, status=True)
            except NotFound:
                continue

    async def _tell_news(self, snapshot: Snapshot, new: Routes) -> float:
        """Tell what the gateway saw of shadows and loggers; return in how many seconds to look again."""
        try:
            answer = await ask(self._doorbell, "/status", timeout_seconds=DOORBELL_SECONDS_MAX)
            seen = orjson.loads(answer.body)["backends"]
        except (Unavailable, orjson.JSONDecodeError, KeyError):
            return NEWS_SECONDS
        owners = {
            f"{each['metadata']['namespace']}/{each['metadata']['name']}": (each["metadata"].get("labels") or {}).get(SERVICE_LABEL)
            for each in snapshot.revisions
        }
        services = {(each["metadata"]["namespace"], each["metadata"]["name"]): each for each in snapshot.services}
        for told in beside.news(self._seen, seen):
            obj = services.get((told.backend.partition("/")[0], owners.get(told.backend) or ""))
            if obj is not None:
                await record_event(self._store, self._clock, obj, "Warning", told.reason, told.message, NAME)
        self._seen = seen
        return NEWS_SECONDS


def _refusal(status: int, body: bytes, version: int) -> str:
    """Return why an answer of the doorbell is no confirmation; empty if it is one."""
    try:
        serving = orjson.loads(body)["version"]
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return f"it answered {status}"
    return "" if status == 200 and serving == version else f"it answered {status} and serves version {serving}, not {version}"


def _is_true(service: Object) -> bool:
    return (get_condition(service, INGRESS_READY) or {}).get("status") == "True"
