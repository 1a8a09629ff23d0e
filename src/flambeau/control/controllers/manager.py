"""All controllers of a platform on one machine; ``programs.platform`` starts and stops them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from flambeau.control.controllers.hosts import Site
from flambeau.control.controllers.inference_graph.reconcile import InferenceGraphReconciler
from flambeau.control.controllers.inference_service.reconcile import InferenceServiceReconciler
from flambeau.control.controllers.namespace.reconcile import NamespaceReconciler
from flambeau.control.controllers.revision.reconcile import RevisionReconciler
from flambeau.control.controllers.routing.reconcile import RoutingReconciler
from flambeau.control.controllers.trained_model.reconcile import TrainedModelReconciler
from flambeau.control.controllers.turns import Turns
from flambeau.control.controllers.views.reconcile import ViewReconciler
from flambeau.control.store.follow import follow
from flambeau.control.store.interface import Event, Store
from flambeau.foundation.clock import Clock
from flambeau.foundation.tasks import TaskOwner


@dataclass(frozen=True, slots=True)
class ControllerSettings:
    """What controllers need to know of the platform."""

    home: Path
    """The platform's directory; the gateway's document goes to ``home/gateway``."""
    domain: str
    """Services answer at ``<name>.<namespace>.<domain>``."""
    gateway_port: int
    """For URLs that work as they are pasted."""
    gateway_scheme: str = "http"
    """What URLs begin with: https where the gateway has a certificate."""
    gateway_host: str = "127.0.0.1"
    """As processes on this machine reach it."""

    @property
    def gateway_url(self) -> str:
        """Return where pods of our own reach the gateway."""
        return f"{self.gateway_scheme}://{self.gateway_host}:{self.gateway_port}"


class Controllers:
    """Start and stop them all.

    Args:
        store: where everything is.
        settings: of the platform.
        clock: for retries, conditions and events.
    """

    def __init__(self, store: Store, settings: ControllerSettings, clock: Clock) -> None:
        site = Site(settings.domain, settings.gateway_port, settings.gateway_scheme)
        turns = Turns()
        self._controllers = (
            NamespaceReconciler(store, clock).controller(turns),
            InferenceServiceReconciler(store, clock, site).controller(turns),
            InferenceGraphReconciler(store, clock, site, settings.gateway_url).controller(turns),
            TrainedModelReconciler(store, clock, site).controller(turns),
            RevisionReconciler(store, clock).controller(turns),
            ViewReconciler(store, clock, settings.gateway_port).controller(turns),
            RoutingReconciler(store, clock, settings.home, settings.domain, settings.gateway_scheme).controller(turns),
        )

        self._store = store
        self._clock = clock
        self._tasks = TaskOwner("controllers")

    async def start(self) -> None:
        """Begin; every object that there is gets looked at once."""
        listeners: dict[str, list[Callable[[Event], None]]] = {}
        for controller in self._controllers:
            for source in controller.sources:
                listeners.setdefault(source.kind, []).append(partial(controller.hear, source))
        for kind, hear in listeners.items():
            self._tasks.keep(f"follow {kind}", partial(self._follow, kind, hear))

    async def _follow(self, kind: str, listeners: Sequence[Callable[[Event], None]]) -> None:
        """Tell every controller of one kind's changes: each is read once, and each object is kept once."""
        async for event in follow(self._store, kind, clock=self._clock):
            for hear in listeners:
                hear(event)

    async def stop(self) -> None:
        """End, the last one first; what was begun is begun again at the next start."""
        await self._tasks.close()
        for controller in reversed(self._controllers):
            await controller.stop()
