"""All controllers of a platform on one machine; ``programs.platform`` starts and stops them."""

from __future__ import annotations

from pathlib import Path

from flambeau.control.controllers.hosts import Site
from flambeau.control.controllers.inference_service.reconcile import InferenceServiceReconciler
from flambeau.control.controllers.loop import Controller
from flambeau.control.controllers.namespace.reconcile import NamespaceReconciler
from flambeau.control.controllers.revision.reconcile import RevisionReconciler
from flambeau.control.controllers.routing.reconcile import RoutingReconciler
from flambeau.control.store.interface import Store
from flambeau.foundation.clock import Clock


def every_controller(store: Store, clock: Clock, *, home: Path, site: Site) -> tuple[Controller, ...]:
    """Return the controllers, in the order in which they are started; they are stopped in reverse.

    Args:
        store: where everything is.
        clock: for retries, conditions and events.
        home: the platform's directory, where the gateway's document goes.
        site: where services are found from outside.
    """
    return (
        NamespaceReconciler(store, clock).controller(),
        InferenceServiceReconciler(store, clock, site).controller(),
        RevisionReconciler(store, clock).controller(),
        RoutingReconciler(store, clock, home, site.domain).controller(),
    )
