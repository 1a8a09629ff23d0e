"""Where the outside world finds services now: the platform's own names, and what the administrator's ConfigMap says of them."""

from __future__ import annotations

from dataclasses import replace

from flambeau.control.controllers.hosts import Site
from flambeau.control.controllers.ingress_config import INGRESS_CONFIG, ingress_config
from flambeau.control.resources.kind import Object
from flambeau.control.store.interface import Event, Store
from flambeau.foundation.errors import NotFound


async def read_config(store: Store) -> Object | None:
    """Return the ConfigMap; None where there is none."""
    try:
        return await store.get(INGRESS_CONFIG)
    except NotFound:
        return None


async def site_now(store: Store, site: Site) -> Site:
    """Return the platform's site with the ConfigMap's names."""
    return replace(site, ingress=ingress_config(await read_config(store)))


def is_of_ingress(event: Event) -> bool:
    """Tell whether a ConfigMap's change is one of the names."""
    metadata = event.object["metadata"]
    return (metadata.get("namespace"), metadata["name"]) == INGRESS_CONFIG[1:]
