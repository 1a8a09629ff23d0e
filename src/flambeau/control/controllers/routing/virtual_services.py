"""User-written Istio VirtualServices as rules of the gateway. Pure.

What this gateway can't do is never done silently wrong: the entry is left out, and a warning about it goes into an event.
Source: specification 5.4.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from flambeau.control.controllers.hosts import CLUSTER_DOMAIN
from flambeau.control.controllers.routing import actions
from flambeau.control.controllers.routing.delegates import Delegates, delegated
from flambeau.control.controllers.routing.directory import Directory
from flambeau.control.controllers.routing.places import Places
from flambeau.control.resources.kind import Object
from flambeau.foundation.errors import InvalidInput
from flambeau.gateway.document import Backend, Document, Headers, Host, MatchType, RequestMatch, Rewrite, Rule, TextMatch
from flambeau.gateway.table import Table

INGRESS_NAMESPACE = "istio-system"
"""Gateways of this namespace count as there, since tutorials name them by many names."""
_IDLE_MATCHES = ("sourceLabels", "sourceNamespace")


@dataclass(frozen=True, slots=True)
class Compiled:
    """What one VirtualService comes to."""

    rules: dict[str, tuple[Rule, ...]]
    """By host."""
    backends: tuple[Backend, ...]
    """For destinations that aren't there: they say so."""
    warnings: tuple[str, ...]


def compile_virtual_service(
    virtual_service: Object, delegates: Delegates, gateways: Sequence[Object], known: Directory, scheme: str = "http"
) -> Compiled:
    """Return a VirtualService's rules, by host.

    Args:
        virtual_service: the object; one without hosts has no rules of its own.
        delegates: those that its rules may name.
        gateways: all Gateway objects.
        known: where hosts lead.
        scheme: what the gateway's clients speak.
    """
    if not virtual_service["spec"].get("hosts"):
        return Compiled({}, (), ())
    return _Compiler(virtual_service, delegates, gateways, known, scheme).compile()


class _Compiler:
    def __init__(self, virtual_service: Object, delegates: Delegates, gateways: Sequence[Object], known: Directory, scheme: str) -> None:
        self._delegates = delegates
        self._spec = virtual_service["spec"]
        self._namespace = virtual_service["metadata"]["namespace"]
        self._label = f"VirtualService {self._namespace}/{virtual_service['metadata']['name']}"
        self._gateways = {f"{each['metadata']['namespace']}/{each['metadata']['name']}" for each in gateways}
        self._scheme = scheme
        self._warnings: dict[str, None] = {}
        self._places = Places(known, self._namespace, self._label, self._warn)

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
        entries = [entry for each in self._spec.get("http") or () for entry in self._entries(each)]
        rules = {name: tuple(rule for entry in entries for rule in self._rules(entry, name)) for name in names}
        return Compiled(rules, tuple(self._places.backends.values()), tuple(self._warnings))

    def _warn(self, text: str) -> None:
        self._warnings[text] = None

    def _is_served(self, gateway: str) -> bool:
        namespace, _, name = gateway.rpartition("/")
        return gateway != "mesh" and (namespace == INGRESS_NAMESPACE or f"{namespace or self._namespace}/{name}" in self._gateways)

    def _full_host(self, host: str) -> str:
        """Return a host as the gateway knows it; a short one is a service of the VirtualService's namespace."""
        host = host.lower().rstrip(".")
        return host if "." in host or host == "*" else f"{host}.{self._namespace}.{CLUSTER_DOMAIN}"

    def _entries(self, entry: Object) -> Sequence[Object]:
        return delegated(entry, self._namespace, self._delegates, self._warn) if entry.get("delegate") else (entry,)

    def _rules(self, entry: Object, host: str) -> Sequence[Rule]:
        matches = [match for each in entry.get("match") or () if (match := self._match(each)) is not None]
        if entry.get("match") and not matches:
            return ()
        rewrite = self._rewrite(entry)
        pattern = (entry.get("rewrite") or {}).get("uriRegexRewrite") or {}
        rule = Rule(
            tuple(
                destination
                for weight, name, headers in self._shares(entry.get("route") or ())
                for destination in self._places.destinations(name, weight, rewrite.authority or host, headers)
            ),
            tuple(matches),
            rewrite if not pattern else replace(rewrite, pattern=pattern.get("match") or "", replacement=pattern.get("rewrite") or ""),
            actions.seconds(entry.get("timeout"), "spec.http.timeout", self._warn),
            self._label,
            actions.attempts(entry.get("retries"), self._warn),
            actions.redirect(entry.get("redirect")),
            actions.direct_response(entry.get("directResponse"), self._warn),
            actions.headers(entry.get("headers")),
            actions.fault(entry.get("fault"), self._warn),
            tuple(mirror for name, percent in actions.mirrors(entry) for mirror in self._places.mirrors(name, percent)),
            actions.cors(entry.get("corsPolicy"), self._warn),
        )
        return (rule,) if self._is_taken(host, rule) else ()

    def _rewrite(self, entry: Object) -> Rewrite:
        """Return the rewrite; KServe's own routes set the Host among the headers instead."""
        rewrite = entry.get("rewrite") or {}
        route = list(entry.get("route") or ())
        host = actions.host_set(entry.get("headers")) or (actions.host_set(route[0].get("headers")) if len(route) == 1 else None)
        return Rewrite(rewrite.get("uri"), rewrite.get("authority") or host)

    def _is_taken(self, host: str, rule: Rule) -> bool:
        """Tell whether the gateway takes a rule; one that it refuses would cost all others, so it is left out and told."""
        try:
            named = self._places.named_by(rule)
            Table(Document(0, (Host(host, (rule,)),), named))
        except InvalidInput as error:
            self._warn(str(error).removeprefix("routes document: "))
            return False
        return True

    def _shares(self, route: Sequence[Object]) -> list[tuple[int, str, Headers | None]]:
        """Return (weight, destination host, headers) of each entry; one alone takes everything, all without weights share equally."""
        weights = [int(each.get("weight") or 0) for each in route]
        if not any(weights):
            weights = [1] * len(route)
        shares = []
        for weight, each in zip(weights, route, strict=True):
            destination = each.get("destination") or {}
            if destination.get("subset"):
                self._warn("spec.http.route.destination.subset has no effect: there are no DestinationRules here")
            if weight > 0:
                host = str(destination.get("host", "")).lower().rstrip(".")
                shares.append((weight, host, actions.headers(each.get("headers"))))
        return shares

    def _match(self, entry: Mapping[str, Any]) -> RequestMatch | None:
        """Return a match; None for one that can't apply at this gateway."""
        idle = [name for name in _IDLE_MATCHES if entry.get(name)]
        if idle:
            self._warn(f"spec.http.match: {', '.join(idle)} can't be matched here; the entry is left out")
            return None
        if entry.get("gateways") and not any(self._is_served(each) for each in entry["gateways"]):
            return None
        scheme = actions.text(entry.get("scheme"))
        if scheme is not None and not _holds(scheme, self._scheme):
            return None
        return RequestMatch(
            uri=actions.text(entry.get("uri"), ignore_case=bool(entry.get("ignoreUriCase"))),
            method=actions.text(entry.get("method")),
            authority=actions.text(entry.get("authority")),
            headers=tuple((name.lower(), _present(text)) for name, text in (entry.get("headers") or {}).items()),
            without_headers=tuple((name.lower(), _present(text)) for name, text in (entry.get("withoutHeaders") or {}).items()),
            query=tuple((name, _present(text)) for name, text in (entry.get("queryParams") or {}).items()),
        )


def _present(text: Mapping[str, str] | None) -> TextMatch:
    """Return a match on a header or parameter; an empty one asks only that it is there."""
    return actions.text(text) or TextMatch(MatchType.PREFIX, "")


def _holds(match: TextMatch, value: str) -> bool:
    if match.type is MatchType.EXACT:
        return value == match.value
    return value.startswith(match.value) if match.type is MatchType.PREFIX else value in match.value.split("|")
