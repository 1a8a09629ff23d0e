"""What the cluster's administrator says about host names: ``ingress`` of the ConfigMap ``inferenceservice-config``. Pure.

Services answer at the platform's own domain whatever stands here; the names here come beside it, and are shown in place of it.
Source: specification 1.12 and 5.1.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import orjson

from flambeau.control.resources.kind import Key, Object
from flambeau.control.resources.lookup import find

INGRESS_CONFIG = Key("configmaps", "kserve", "inferenceservice-config")

_FIELD = re.compile(r"\{\{\s*\.(Name|Namespace|IngressDomain)\s*\}\}")
_HOST = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_HOST_CHARS_MAX = 253
_PATH = re.compile(r"(/[A-Za-z0-9._~-]+)+")


@dataclass(frozen=True, slots=True)
class IngressConfig:
    """The fields that names are made from; empty where nothing is said."""

    domain: str = ""
    """``ingressDomain``."""
    domain_template: str = ""
    path_template: str = ""
    additional_domains: tuple[str, ...] = ()
    url_scheme: str = ""
    """``urlScheme`` of the URLs that are shown, where somebody else ends TLS before the gateway."""

    def host(self, name: str, namespace: str) -> str:
        """Return the host that the template makes of a name; empty where there is none, or it does not come to a host name."""
        host = self._filled(self.domain_template, name, namespace) if self.domain_template and self.domain else ""
        return host.lower() if _is_host(host.lower()) else ""

    def hosts(self, name: str, namespace: str) -> tuple[str, ...]:
        """Return the further hosts of a name; what does not come to a host name is left out."""
        names = [f"{name}.{namespace}.{domain}".lower() for domain in self.additional_domains]
        return tuple(dict.fromkeys(each for each in (*names, self.host(name, namespace)) if _is_host(each)))

    def path(self, name: str, namespace: str) -> str:
        """Return the path by which a service is known at ``domain``; empty where there is none."""
        path = self._filled(self.path_template, name, namespace).rstrip("/") if self.path_template and self.domain else ""
        return path if _PATH.fullmatch(path) else ""

    def _filled(self, template: str, name: str, namespace: str) -> str:
        values = {"Name": name, "Namespace": namespace, "IngressDomain": self.domain}
        return _FIELD.sub(lambda field: values[field[1]], template)


def _is_host(name: str) -> bool:
    return len(name) <= _HOST_CHARS_MAX and _HOST.fullmatch(name) is not None


NOTHING_SAID = IngressConfig()


def ingress_config(config_map: Object | None) -> IngressConfig:
    """Return what a ConfigMap says; what can't be read counts as not said."""
    text = find(config_map, "data", "ingress") if config_map is not None else None
    try:
        said = orjson.loads(text) if isinstance(text, str) else {}
    except orjson.JSONDecodeError:
        said = {}
    if not isinstance(said, dict):
        return IngressConfig()
    fields = ("ingressDomain", "domainTemplate", "pathTemplate", "urlScheme")
    texts = {field: said[field] if isinstance(said.get(field), str) else "" for field in fields}
    domain = texts["ingressDomain"].lower()
    more = said.get("additionalIngressDomains")
    return IngressConfig(
        domain if _HOST.fullmatch(domain) else "",
        texts["domainTemplate"],
        texts["pathTemplate"],
        tuple(each.lower() for each in more if isinstance(each, str)) if isinstance(more, list) else (),
        texts["urlScheme"] if texts["urlScheme"] in ("http", "https") else "",
    )
