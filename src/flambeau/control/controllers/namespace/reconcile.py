"""Give every namespace the ServiceAccount ``default``, as Kubernetes does: pods that name none use it."""

from __future__ import annotations

from flambeau.control.controllers.loop import Controller, Source, itself
from flambeau.control.resources.builtin import default_service_account
from flambeau.control.resources.kind import Key
from flambeau.control.store.interface import Event, Store
from flambeau.foundation.clock import Clock
from flambeau.foundation.errors import Conflict, NotFound

NAMESPACES = "namespaces"


class NamespaceReconciler:
    """Hold what reconciling needs.

    Args:
        store: where everything is.
        clock: for retries.
    """

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    def controller(self) -> Controller:
        """Return the controller that keeps all namespaces."""
        sources = (itself(NAMESPACES), Source("serviceaccounts", _namespace_of_account))
        return Controller("namespace-controller", self._store, self._clock, sources, self.reconcile)

    async def reconcile(self, key: Key) -> None:
        """Create the ServiceAccount where it is missing.

        Raises:
            Unavailable: the store refused.
        """
        try:
            namespace = await self._store.get(key)
            if not namespace["metadata"].get("deletionTimestamp"):
                await self._store.create(default_service_account(key.name))
        except (NotFound, Conflict):
            return  # the namespace is gone, or the account is there


def _namespace_of_account(event: Event) -> tuple[Key, ...]:
    return (Key(NAMESPACES, "", event.object["metadata"]["namespace"]),)
