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


def ingress(service: Service, *, has_traffic: bool, unconfirmed: str) -> Ingress:
    """Return how a service stands at the gateway.

    Args:
        service: as the newest document has it.
        has_traffic: a revision of it gets requests.
        unconfirmed: why the gateway is not known to serve that document; empty when it does.
    """
    if not has_traffic:
        return Ingress("Unknown", "PredictorNotReady", "Predictor ingress not created: the predictor has not been ready yet")
    if not service.is_served:
        return Ingress("False", "NoReadyPods", "; ".join(each.why_empty for each in service.backends if each.why_empty))
    if unconfirmed:
        return Ingress("Unknown", "GatewayNotReady", f"the gateway has not taken the routes yet: {unconfirmed}")
    return Ingress("True")
