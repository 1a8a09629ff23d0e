"""User-written Istio VirtualServices as rules of the gateway. Pure.

What this gateway can't do is never done silently wrong: the entry is left out, and a warning about it goes into an event.
Source: specification 5.4.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from flambeau.control.controllers.hosts import CLUSTER_DOMAIN
from flambeau.control.controllers.routing.directory import Directory
from flambeau.control.resources.durations import duration_seconds
from flambeau.control.resources.kind import Object
from flambeau.foundation.errors import InvalidInput
from flambeau.gateway.document import Backend, Destination, Document, Host, MatchType, RequestMatch, Rewrite, Rule, TextMatch
from flambeau.gateway.table import Table

INGRESS_NAMESPACE = "istio-system"
"""Gateways of this namespace count as there, since tutorials name them by many names."""
LOCAL_GATEWAYS = frozenset(
    ("knative-local-gateway.istio-system", "istio-ingressgateway.istio-system", "cluster-local-gateway.istio-system")
)
"""Destinations that look the authority up once more."""
_IDLE_ACTIONS = ("redirect", "directResponse", "delegate", "fault", "mirror", "mirrors", "corsPolicy", "headers")
_IDLE_MATCHES = ("withoutHeaders", "sourceLabels", "sourceNamespace")
_KNOWN_HOSTS_SHOWN_MAX = 5
_WHOLE = 100
"""What a service's own shares sum to: what stands beside them counts by the same measure."""


@dataclass(frozen=True, slots=True)
class Compiled:
    """What one VirtualService comes to."""

    rules: dict[str, tuple[Rule, ...]]
    """By host."""
    backends: tuple[Backend, ...]
    """For destinations that aren't there: they say so."""
    warnings: tuple[str, ...]


def compile_virtual_service(virtual_service: Object, gateways: Sequence[Object], known: Directory) -> Compiled:
    """Return a VirtualService's rules, by host.

    Args:
        virtual_service: the object.
        gateways: all Gateway objects.
        known: where hosts lead.
    """
    return _Compiler(virtual_service, gateways, known).compile()


class _Compiler:
    def __init__(self, virtual_service: Object, gateways: Sequence[Object], known: Directory) -> None:
        self._spec = virtual_service["spec"]
        self._namespace = virtual_service["metadata"]["namespace"]
        self._label = f"VirtualService {self._namespace}/{virtual_service['metadata']['name']}"
        self._gateways = {f"{each['metadata']['namespace']}/{each['metadata']['name']}" for each in gateways}
        self._known = known
        self._backends: dict[str, Backend] = {}
        self._warnings: dict[str, None] = {}

    def compile(self) -> Compiled:
        named = self._spec.get("gateways") or ["mesh"]
        if not any(self._is_served(gateway) for gateway in named):
            there = ", ".join(sorted(self._gateways)) or "none"
            self._warn(
                f"it is bound to {', '.join(named)}, none of which is an ingress gateway here (there are: {there}); it routes nothing"
            )
            return Compiled({}, (), tuple(self._warnings))
        for kind in ("tcp", "tls"):
            if self._spec.get(kind):
                self._warn(f"spec.{kind} is not served here")
        names = [self._full_host(host) for host in self._spec.get("hosts") or ()]
        rules = {name: tuple(rule for entry in self._spec.get("http") or () for rule in self._rules(entry, name)) for name in names}
        return Compiled(rules, tuple(self._backends.values()), tuple(self._warnings))

    def _warn(self, text: str) -> None:
        self._warnings[text] = None

    def _is_served(self, gateway: str) -> bool:
        namespace, _, name = gateway.rpartition("/")
        return gateway != "mesh" and (namespace == INGRESS_NAMESPACE or f"{namespace or self._namespace}/{name}" in self._gateways)

    def _full_host(self, host: str) -> str:
        """Return a host as the gateway knows it; a short one is a service of the VirtualService's namespace."""
        host = host.lower().rstrip(".")
        return host if "." in host or host == "*" else f"{host}.{self._namespace}.{CLUSTER_DOMAIN}"

    def _rules(self, entry: Object, host: str) -> Sequence[Rule]:
        idle = [name for name in _IDLE_ACTIONS if entry.get(name)]
        if idle:
            self._warn(f"spec.http: {', '.join(idle)} {'is' if len(idle) == 1 else 'are'} not done here")
        if not entry.get("route"):
            self._warn("spec.http: an entry without route routes nothing")
            return ()
        matches = [match for each in entry.get("match") or () if (match := self._match(each)) is not None]
        if entry.get("match") and not matches:
            return ()
        rewrite = entry.get("rewrite") or {}
        if rewrite.get("uriRegexRewrite"):
            self._warn("spec.http.rewrite.uriRegexRewrite is not done here")
        authority = rewrite.get("authority")
        destinations = tuple(
            destination
            for weight, name in self._shares(entry["route"])
            for destination in self._destinations(name, weight, authority or host)
        )
        timeout = self._timeout(entry.get("timeout"))
        rule = Rule(destinations, tuple(matches), Rewrite(rewrite.get("uri"), authority), timeout, self._label)
        return (rule,) if self._is_taken(host, rule) else ()

    def _is_taken(self, host: str, rule: Rule) -> bool:
        """Tell whether the gateway takes a rule; one that it refuses would cost all others, so it is left out and told."""
        try:
            Table(Document(0, (Host(host, (rule,)),), (*self._known.backends.values(), *self._backends.values())))
        except InvalidInput as error:
            self._warn(str(error).removeprefix("routes document: "))
            return False
        return True

    def _shares(self, route: Sequence[Object]) -> list[tuple[int, str]]:
        """Return (weight, destination host) of each entry; one alone takes everything, all without weights share equally."""
        weights = [int(each.get("weight") or 0) for each in route]
        if not any(weights):
            weights = [1] * len(route)
        hosts = [str((each.get("destination") or {}).get("host", "")).lower().rstrip(".") for each in route]
        return [(weight, host) for weight, host in zip(weights, hosts, strict=True) if weight > 0]

    def _destinations(self, name: str, weight: int, authority: str) -> Sequence[Destination]:
        short = name.removesuffix(f".{CLUSTER_DOMAIN}").removesuffix(".svc")
        if short in LOCAL_GATEWAYS:
            host = authority.lower().partition(":")[0]
            found = None if host in self._known.by_path else self._known.by_host.get(host)
            if found is None:
                return (Destination(weight * _WHOLE, reroute=True, host=host),)
            return _scaled(found, weight)
        found = self._known.by_host.get(short if "." in short else f"{short}.{self._namespace}") or self._known.by_host.get(name)
        return _scaled(found, weight) if found is not None else (Destination(weight * _WHOLE, backend=self._nowhere(name), host=name),)

    def _nowhere(self, name: str) -> str:
        """Return the name of a backend that has no endpoints and says why."""
        services = sorted(f"{each.name}.{each.namespace}.{CLUSTER_DOMAIN}" for each in self._known.services)
        listed = ", ".join(services[:_KNOWN_HOSTS_SHOWN_MAX]) or "none"
        hint = f"; a name without a dot is looked up in the namespace {self._namespace}" if "." not in name else ""
        why = f'{self._label} sends it to "{name}", which is no service here{hint}; there are: {listed}'
        self._warn(f'destination "{name}" is no service here{hint}')
        backend = Backend(f"nowhere/{self._namespace}/{name}", (), why_empty=why)
        self._backends[backend.name] = backend
        return backend.name

    def _timeout(self, text: str | None) -> float | None:
        if not text:
            return None
        try:
            return duration_seconds(text) or None
        except ValueError:
            self._warn(f'spec.http.timeout "{text}" is no duration; it is not applied')
            return None

    def _match(self, entry: Mapping[str, Any]) -> RequestMatch | None:
        """Return a match; None for one that can't apply at this gateway."""
        idle = [name for name in _IDLE_MATCHES if entry.get(name)]
        if idle:
            self._warn(f"spec.http.match: {', '.join(idle)} can't be matched here; the entry is left out")
            return None
        if entry.get("gateways") and not any(self._is_served(each) for each in entry["gateways"]):
            return None
        if entry.get("scheme") and entry["scheme"] not in ({"exact": "http"}, {"prefix": "http"}):
            return None
        return RequestMatch(
            uri=_text(entry.get("uri"), ignore_case=bool(entry.get("ignoreUriCase"))),
            method=_text(entry.get("method")),
            authority=_text(entry.get("authority")),
            headers=tuple((name.lower(), _present(text)) for name, text in (entry.get("headers") or {}).items()),
            query=tuple((name, _present(text)) for name, text in (entry.get("queryParams") or {}).items()),
        )


def _present(text: Mapping[str, str] | None) -> TextMatch:
    """Return a match on a header or parameter; an empty one asks only that it is there."""
    return _text(text) or TextMatch(MatchType.PREFIX, "")


def _text(text: Mapping[str, str] | None, *, ignore_case: bool = False) -> TextMatch | None:
    for type in MatchType:
        if text and type.value in text:
            return TextMatch(type, text[type.value], ignore_case)
    return None


def _scaled(destinations: Sequence[Destination], weight: int) -> tuple[Destination, ...]:
    """Return a service's shares as part of a larger split."""
    return tuple(Destination(each.weight * weight, each.backend, each.reroute, each.host) for each in destinations)
