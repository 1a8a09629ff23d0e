"""Give every namespace the ServiceAccount ``default``, as Kubernetes does: pods that name none use it; and let its old events go."""

from __future__ import annotations

import contextlib

from flambeau.control.controllers.loop import Controller, Source, itself
from flambeau.control.controllers.turns import Turns
from flambeau.control.resources.builtin import default_service_account
from flambeau.control.resources.kind import Key
from flambeau.control.store.interface import Event, Store
from flambeau.control.store.recorder import drop_old_events
from flambeau.foundation.clock import Clock
from flambeau.foundation.errors import Conflict, NotFound

NAMESPACES = "namespaces"
EVENTS_SECONDS = 300.0
"""Between two looks at a namespace's events."""


class NamespaceReconciler:
    """Hold what reconciling needs.

    Args:
        store: where everything is.
        clock: for retries.
    """

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    def controller(self, turns: Turns) -> Controller:
        """Return the controller that keeps all namespaces."""
        sources = (itself(NAMESPACES), Source("serviceaccounts", _namespace_of_account))
        return Controller("namespace-controller", self._store, self._clock, sources, self.reconcile, turns)

    async def reconcile(self, key: Key) -> float | None:
        """Create the ServiceAccount where it is missing, and delete old events.

        Returns:
            in how many seconds to look again; None: the namespace goes, or is gone.

        Raises:
            Unavailable: the store refused.
        """
        try:
            namespace = await self._store.get(key)
        except NotFound:
            return None
        if namespace["metadata"].get("deletionTimestamp"):
            return None
        with contextlib.suppress(Conflict, NotFound):  # it is there, or the namespace has gone meanwhile
            await self._store.create(default_service_account(key.name))
        await drop_old_events(self._store, key.name, self._clock.wall())
        return EVENTS_SECONDS


def _namespace_of_account(event: Event) -> tuple[Key, ...]:
    return (Key(NAMESPACES, "", event.object["metadata"]["namespace"]),)
