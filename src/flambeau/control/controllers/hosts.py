"""The host names by which a service is known. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from flambeau.control.controllers.ingress_config import NOTHING_SAID, IngressConfig

CLUSTER_DOMAIN = "svc.cluster.local"
LOCAL_DOMAIN = "localhost"


@dataclass(frozen=True, slots=True)
class Site:
    """Where the outside world finds the gateway."""

    domain: str = LOCAL_DOMAIN
    """Services answer at ``<name>.<namespace>.<domain>``."""
    gateway_port: int = 8000
    """Part of a URL only with the domain ``localhost``, where the URL is to work as it is pasted."""
    scheme: str = "http"
    ingress: IngressConfig = NOTHING_SAID
    """What the administrator says, which wins."""

    def entry_url(self, name: str, namespace: str) -> str:
        """Return the external URL of a whole service: its path at the administrator's domain, where services are known by paths."""
        path = self.ingress.path(name, namespace)
        return f"{self.ingress.url_scheme or self.scheme}://{self.ingress.domain}{path}" if path else self.url(name, namespace)

    def url(self, name: str, namespace: str) -> str:
        """Return the external URL of a name."""
        scheme, host = self.ingress.url_scheme or self.scheme, self.ingress.host(name, namespace)
        if host:
            return f"{scheme}://{host}"
        usual = 443 if self.scheme == "https" else 80
        port = f":{self.gateway_port}" if self.domain == LOCAL_DOMAIN and self.gateway_port != usual else ""
        return f"{scheme}://{name}.{namespace}.{self.domain}{port}"


def component_name(service: str, component: str, variant: str = "") -> str:
    """Return the name that a component's revisions and its own hosts carry: ``X-predictor``, of a variant ``X-v2-predictor``."""
    return f"{service}-{variant}-{component}" if variant else f"{service}-{component}"


def internal_url(name: str, namespace: str) -> str:
    """Return the URL inside the cluster."""
    return f"http://{name}.{namespace}.{CLUSTER_DOMAIN}"


def hosts(name: str, namespace: str, domain: str) -> tuple[str, ...]:
    """Return every host of one name: outside, and inside in its long and short forms."""
    base = f"{name}.{namespace}"
    names = (f"{base}.{domain}", f"{base}.{CLUSTER_DOMAIN}", f"{base}.svc", base)
    return tuple(dict.fromkeys(names))
