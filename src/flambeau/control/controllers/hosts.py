"""The host names by which a service is known. Pure."""

from __future__ import annotations

from dataclasses import dataclass

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

    def url(self, name: str, namespace: str) -> str:
        """Return the external URL of a service's name."""
        usual = 443 if self.scheme == "https" else 80
        port = f":{self.gateway_port}" if self.domain == LOCAL_DOMAIN and self.gateway_port != usual else ""
        return f"{self.scheme}://{name}.{namespace}.{self.domain}{port}"


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
