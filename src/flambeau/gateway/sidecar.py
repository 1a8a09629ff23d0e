"""What stands beside a backend's replicas: logger, batcher, shadow.

In the original an agent in each pod does this; here the gateway does, so that pods stay as they are, a batch gathers over all replicas,
and who asks a pod directly is neither logged nor batched.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from flambeau.foundation.errors import InvalidInput
from flambeau.foundation.http1 import Exchange, Head
from flambeau.gateway.batcher import Batcher, is_batchable
from flambeau.gateway.clients import Tap, Tapped
from flambeau.gateway.copies import Comparison, Copy, ShadowTap
from flambeau.gateway.document import Backend
from flambeau.gateway.event_log import EventLog, collector_of
from flambeau.gateway.event_store import EventStore
from flambeau.gateway.events import CallLogTap, LogTap, is_event, is_inference_call
from flambeau.gateway.grpc_call import CallClient, forward_call
from flambeau.gateway.grpc_copies import CallCopy, TappedCall
from flambeau.gateway.headers import asked_protocol
from flambeau.gateway.passage import Client
from flambeau.gateway.table import Route

if TYPE_CHECKING:
    from flambeau.gateway.proxy import Gateway
    from flambeau.gateway.upstream import Service

_logger = logging.getLogger(__name__)


class Sidecar:
    """Do what a backend asks for beside its replicas.

    Args:
        gateway: whom requests pass.
        service: the backend's.
        before: what the backend had until now; its counters go on where the settings are the same.
    """

    def __init__(self, gateway: Gateway, service: Service, before: Sidecar | None) -> None:
        backend = service.backend
        self._gateway = gateway
        self._service = service
        self.log = _log(gateway, backend, before)
        if before is not None and before.log is not None and before.log is not self.log:
            before.log.flush()
        self.comparison: Comparison = before.comparison if before is not None else Comparison()
        kept = before.batcher if before is not None else None
        if kept is not None and kept.settings != backend.batcher:
            kept.close()
            kept = None
        self.batcher: Batcher | None = kept or (Batcher(gateway, service, backend.batcher) if backend.batcher is not None else None)

    @staticmethod
    def is_wanted(backend: Backend) -> bool:
        """Tell whether a backend asks for anything."""
        return not (backend.logger is None and backend.batcher is None and backend.shadow is None)

    def begin(self, route: Route, head: Head, client: Client) -> Exchange:
        """Begin a request."""
        backend = self._service.backend
        if asked_protocol(head) is not None:
            return self._gateway.forward(self._service, route, head, client)
        taps: list[Tap] = []
        if self.log is not None and backend.logger is not None and head.method == "POST" and not is_event(head):
            taps.append(LogTap(backend.logger, head, self.log.offer, self._lost_event))
        if shadow := self._drawn_shadow():
            taps.append(ShadowTap(self.comparison, Copy(self._gateway, shadow, route, head, client.peer)))
        if not taps:
            return self._serve(route, head, client)
        tapped = Tapped(client, taps, self._gateway.budget)
        tapped.exchange = self._serve(route, head, tapped)
        return tapped

    def begin_call(self, route: Route, head: Head, client: CallClient) -> Exchange:
        """Begin a gRPC call."""
        taps: list[Tap] = []
        if self.log is not None and self._service.backend.logger is not None and is_inference_call(head):
            taps.append(CallLogTap(self._service.backend.logger, head, self.log.offer, self._lost_event))
        if shadow := self._drawn_shadow():
            taps.append(ShadowTap(self.comparison, CallCopy(self._gateway, shadow, route, head, client.peer)))
        if not taps:
            return forward_call(self._gateway, self._service, route, head, client)
        tapped = TappedCall(client, taps, self._gateway.budget)
        tapped.exchange = forward_call(self._gateway, self._service, route, head, tapped)
        return tapped

    def status(self) -> dict[str, Any]:
        """Return what happened so far, for people."""
        found: dict[str, Any] = {}
        shadow, log, seen = self._service.backend.shadow, self.log, self.comparison
        if shadow is not None:
            found["shadow"] = {"name": shadow.name, **{field: getattr(seen, field) for field in Comparison.__slots__}}
        if log is not None:
            counters = {"sent": log.sent, "dropped": log.dropped, "failed": log.failed}
            found["logger"] = {**counters, "last_failure": log.last_failure}
        return found

    def numbers(self) -> tuple[tuple[tuple[str, int], ...], tuple[tuple[str, int], ...]]:
        """Return (outcome, number) of the logger's copies and of the shadow's answers."""
        log, seen = self.log, self.comparison
        events = () if log is None else (("sent", log.sent), ("dropped", log.dropped), ("failed", log.failed))
        is_shadowed = self._service.backend.shadow is not None
        shadow = (("same", seen.same), ("different", seen.different), ("dropped", seen.dropped)) if is_shadowed else ()
        return events, shadow

    def close(self) -> None:
        """Let what gathered go on: the backend is gone."""
        if self.batcher is not None:
            self.batcher.close()
        self.flush()

    def flush(self) -> None:
        """Write what the logger has gathered."""
        if self.log is not None:
            self.log.flush()

    def _drawn_shadow(self) -> str:
        """Return the backend that gets a copy of this request; empty if none does."""
        shadow, draw = self._service.backend.shadow, self._gateway.draw
        if shadow is None or draw() * 100 >= shadow.percent:
            return ""
        return shadow.backends[int(draw() * len(shadow.backends))]

    def _serve(self, route: Route, head: Head, client: Client) -> Exchange:
        if self.batcher is not None and is_batchable(head):
            return self.batcher.begin(route, head, client)
        return self._gateway.forward(self._service, route, head, client)

    def _lost_event(self) -> None:
        if self.log is not None:
            self.log.dropped += 1


def _log(gateway: Gateway, backend: Backend, before: Sidecar | None) -> EventLog | EventStore | None:
    logger, known = backend.logger, before.log if before is not None else None
    if logger is None:
        return None
    if logger.store is not None:
        if isinstance(known, EventStore) and (known.url, known.settings) == (logger.url, logger.store):
            return known
        return EventStore(logger, gateway.writers, gateway.budget)
    try:
        collector = collector_of(logger)
    except InvalidInput as error:  # one backend's mistake holds up nobody's routes
        _logger.error("backend %s is not logged: %s", backend.name, error)
        return None
    if isinstance(known, EventLog) and known.collector == collector:
        return known
    return EventLog(collector, gateway.tasks, gateway.budget, gateway.post_inside)
