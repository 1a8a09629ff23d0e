"""The condition ``IngressReady`` of an InferenceService. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from flambeau.control.controllers.routing.directory import Service


@dataclass(frozen=True, slots=True)
class Ingress:
    """The condition's content."""

    status: str
    reason: str = ""
    message: str = ""


def ingress(service: Service, *, missing: str, unconfirmed: str) -> Ingress:
    """Return how a service stands at the gateway.

    Args:
        service: as the newest document has it.
        missing: a component that has had nobody to answer yet; empty when all have.
        unconfirmed: why the gateway is not known to serve that document; empty when it does.
    """
    if missing:
        word = missing.capitalize()
        return Ingress("Unknown", f"{word}NotReady", f"{word} ingress not created: the {missing} has not been ready yet")
    if not service.is_served:
        return Ingress("False", "NoReadyPods", "; ".join(each.why_empty for each in service.answering if each.why_empty))
    if unconfirmed:
        return Ingress("Unknown", "GatewayNotReady", f"the gateway has not taken the routes yet: {unconfirmed}")
    return Ingress("True")
