"""Gateway API HTTPRoutes as rules of the gateway, and what is said about them in their status. Pure.

The more particular match wins whichever route it stands in: exact paths before prefixes, longer prefixes before shorter ones, then the
method, more headers, more parameters, the older route.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from flambeau.control.controllers.routing.actions import seconds
from flambeau.control.controllers.routing.directory import Directory
from flambeau.control.controllers.routing.places import Places
from flambeau.control.controllers.routing.virtual_services import INGRESS_NAMESPACE
from flambeau.control.resources.conditions import set_condition
from flambeau.control.resources.kind import Object
from flambeau.foundation.errors import InvalidInput
from flambeau.gateway.document import (
    Backend,
    Cors,
    DirectResponse,
    Document,
    HeaderChanges,
    Headers,
    Host,
    MatchType,
    Mirror,
    Redirect,
    RequestMatch,
    Rewrite,
    Rule,
    TextMatch,
)
from flambeau.gateway.table import Table

CONTROLLER = "flambeau.dev/gateway"
GATEWAYS = frozenset(("kserve/kserve-ingress-gateway", "knative-serving/knative-ingress-gateway", "knative-serving/knative-local-gateway"))
"""Names under which the one gateway is known, beside every Gateway object and the ingress namespace."""

Rank = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class CompiledRoute:
    """What one HTTPRoute comes to."""

    rules: dict[str, tuple[tuple[Rank, Rule], ...]]
    """By host, each with its rank: the least wins."""
    backends: tuple[Backend, ...]
    """For destinations that aren't there: they say so."""
    parents: tuple[bool, ...]
    """Which of its parentRefs are here."""
    warnings: tuple[str, ...]
    unresolved: tuple[str, ...]
    """What of the warnings is about backends."""


def compile_http_route(route: Object, gateways: Sequence[Object], known: Directory) -> CompiledRoute:
    """Return an HTTPRoute's rules, by host.

    Args:
        route: the object.
        gateways: all Gateway objects.
        known: where hosts lead.
    """
    return _Compiler(route, gateways, known).compile()


def parent_statuses(route: Object, compiled: CompiledRoute, now: float) -> list[Object]:
    """Return ``status.parents`` of an HTTPRoute."""
    old = (route.get("status") or {}).get("parents") or []
    generation = int(route["metadata"].get("generation") or 1)
    statuses = []
    for reference, is_here in zip(route["spec"].get("parentRefs") or (), compiled.parents, strict=True):
        if not is_here:
            continue  # somebody else's: its controller speaks about it
        before: Object = next((each for each in old if each.get("parentRef") == reference and each.get("controllerName") == CONTROLLER), {})
        conditions = [dict(each) for each in before.get("conditions") or ()]
        refused = [each for each in compiled.warnings if each not in compiled.unresolved]
        accepted = ("False", "UnsupportedValue", "; ".join(refused)) if refused else ("True", "Accepted", "")
        resolved = ("False", "BackendNotFound", "; ".join(compiled.unresolved)) if compiled.unresolved else ("True", "ResolvedRefs", "")
        set_condition(conditions, "Accepted", *accepted, now)
        set_condition(conditions, "ResolvedRefs", *resolved, now)
        for each in conditions:
            each.setdefault("message", "")
            each["observedGeneration"] = generation
        statuses.append({"parentRef": reference, "controllerName": CONTROLLER, "conditions": conditions})
    return statuses


class _Compiler:
    def __init__(self, route: Object, gateways: Sequence[Object], known: Directory) -> None:
        metadata = route["metadata"]
        self._spec = route["spec"]
        self._namespace = metadata["namespace"]
        self._label = f"HTTPRoute {self._namespace}/{metadata['name']}"
        self._age = (metadata["creationTimestamp"], self._namespace, metadata["name"])
        self._gateways = GATEWAYS | {f"{each['metadata']['namespace']}/{each['metadata']['name']}" for each in gateways}
        self._warnings: dict[str, None] = {}
        self._unresolved: dict[str, None] = {}
        self._places = Places(known, self._namespace, self._label, self._warn_of_backend)

    def compile(self) -> CompiledRoute:
        parents = tuple(self._is_here(each) for each in self._spec.get("parentRefs") or ())
        rules: dict[str, tuple[tuple[Rank, Rule], ...]] = {}
        if any(parents):
            for host in self._spec.get("hostnames") or ("*",):
                rules[host.lower()] = tuple(
                    ranked
                    for number, rule in enumerate(self._spec.get("rules") or ())
                    for ranked in self._rules(rule, host.lower(), number)
                )
        return CompiledRoute(rules, tuple(self._places.backends.values()), parents, tuple(self._warnings), tuple(self._unresolved))

    def _warn(self, text: str) -> None:
        self._warnings[text] = None

    def _warn_of_backend(self, text: str) -> None:
        self._warn(text)
        self._unresolved[text] = None

    def _is_here(self, reference: Object) -> bool:
        namespace = reference.get("namespace") or self._namespace
        is_gateway = reference.get("kind", "Gateway") == "Gateway"
        return is_gateway and (namespace == INGRESS_NAMESPACE or f"{namespace}/{reference['name']}" in self._gateways)

    def _rules(self, entry: Object, host: str, number: int) -> Sequence[tuple[Rank, Rule]]:
        filters = entry.get("filters") or ()
        if any(each["type"] == "ExtensionRef" for each in filters):
            self._warn(f"spec.rules[{number}]: ExtensionRef is not done here; the rule is left out")
            return ()
        base = self._base(entry, filters, host)
        found: list[tuple[Rank, Rule]] = []
        matches: Sequence[Object] = entry.get("matches") or ({},)
        for match in matches:
            path = match.get("path") or {}
            for uri, change in _paths(path.get("type", "PathPrefix"), path.get("value", "/"), base):
                rule = replace(change, matches=(_match(match, uri),))
                if self._is_taken(host, rule):
                    found.append(((*_rank(match), *self._age, number), rule))
        return found

    def _base(self, entry: Object, filters: Sequence[Object], host: str) -> Rule:
        """Return a rule without its matches; prefix changes still name the prefix's substitute."""
        by_type = {each["type"]: each for each in filters}
        rewrite = (by_type.get("URLRewrite") or {}).get("urlRewrite") or {}
        path = rewrite.get("path") or {}
        destinations = tuple(
            destination
            for each in entry.get("backendRefs") or ()
            if each.get("weight", 1) > 0
            for destination in self._places.destinations(
                self._host_of(each), int(each.get("weight", 1)), rewrite.get("hostname") or host, _headers(each.get("filters") or ())
            )
        )
        redirect = _redirect((by_type.get("RequestRedirect") or {}).get("requestRedirect"))
        nobody = DirectResponse(500, "the route has no backend") if redirect is None and not destinations else None
        return Rule(
            destinations,
            rewrite=Rewrite(path.get("replaceFullPath", path.get("replacePrefixMatch")), rewrite.get("hostname")),
            timeout_seconds=seconds((entry.get("timeouts") or {}).get("request"), "timeouts.request", self._warn),
            source=self._label,
            redirect=redirect,
            direct=nobody,
            headers=_headers(filters),
            mirrors=tuple(mirror for each in filters if each.get("requestMirror") for mirror in self._mirrors(each["requestMirror"])),
            cors=_cors((by_type.get("CORS") or {}).get("cors")),
        )

    def _host_of(self, reference: Object) -> str:
        return f"{reference['name']}.{reference.get('namespace') or self._namespace}".lower()

    def _mirrors(self, entry: Object) -> tuple[Mirror, ...]:
        fraction = entry.get("fraction")
        percent = 100.0 * fraction["numerator"] / max(1, fraction.get("denominator", 100)) if fraction else float(entry.get("percent", 100))
        return self._places.mirrors(self._host_of(entry["backendRef"]), percent) if percent > 0 else ()

    def _is_taken(self, host: str, rule: Rule) -> bool:
        try:
            Table(Document(0, (Host(host, (rule,)),), self._places.named_by(rule)))
        except InvalidInput as error:
            self._warn(str(error).removeprefix("routes document: "))
            return False
        return True


def _paths(kind: str, value: str, base: Rule) -> list[tuple[TextMatch | None, Rule]]:
    """Return the matches of a path; a prefix ends at a slash or at the path's end, which are two."""
    if kind == "RegularExpression":
        return [(TextMatch(MatchType.REGEX, value), base)]
    if kind == "Exact":
        return [(TextMatch(MatchType.EXACT, value), base)]
    prefix = value.rstrip("/")
    if not prefix:
        is_changed = base.rewrite.uri is not None or (base.redirect is not None and base.redirect.prefix)
        return [(TextMatch(MatchType.PREFIX, "/") if is_changed else None, _below(base))]
    return [(TextMatch(MatchType.EXACT, prefix), base), (TextMatch(MatchType.PREFIX, prefix + "/"), _below(base))]


def _below(base: Rule) -> Rule:
    """Return a rule for what lies below a prefix: the substitute ends with a slash as the matched prefix does."""
    changed = base
    if base.rewrite.uri is not None:
        changed = replace(changed, rewrite=replace(base.rewrite, uri=base.rewrite.uri.rstrip("/") + "/"))
    if base.redirect is not None and base.redirect.prefix and base.redirect.uri is not None:
        changed = replace(changed, redirect=replace(base.redirect, uri=base.redirect.uri.rstrip("/") + "/"))
    return changed


def _match(match: Object, uri: TextMatch | None) -> RequestMatch:
    return RequestMatch(
        uri=uri,
        method=TextMatch(MatchType.EXACT, match["method"]) if match.get("method") else None,
        headers=tuple((each["name"].lower(), _text(each)) for each in match.get("headers") or ()),
        query=tuple((each["name"], _text(each)) for each in match.get("queryParams") or ()),
    )


def _text(entry: Object) -> TextMatch:
    return TextMatch(MatchType.REGEX if entry.get("type") == "RegularExpression" else MatchType.EXACT, entry["value"])


def _rank(match: Object) -> Rank:
    path = match.get("path") or {}
    kinds = ("Exact", "PathPrefix", "RegularExpression")
    return (
        kinds.index(path.get("type", "PathPrefix")),
        -len(path.get("value", "/")),
        not match.get("method"),
        -len(match.get("headers") or ()),
        -len(match.get("queryParams") or ()),
    )


def _headers(filters: Sequence[Object]) -> Headers | None:
    changes = {each["type"]: each.get(each["type"][:1].lower() + each["type"][1:]) or {} for each in filters}
    made = Headers(*(_changes(changes.get(f"{which}HeaderModifier") or {}) for which in ("Request", "Response")))
    return None if made == Headers() else made


def _changes(entry: Object) -> HeaderChanges:
    pairs = {way: tuple((each["name"], each["value"]) for each in entry.get(way) or ()) for way in ("set", "add")}
    return HeaderChanges(pairs["set"], pairs["add"], tuple(entry.get("remove") or ()))


def _redirect(entry: Object | None) -> Redirect | None:
    if entry is None:
        return None
    path = entry.get("path") or {}
    return Redirect(
        uri=path.get("replaceFullPath", path.get("replacePrefixMatch")),
        prefix="replacePrefixMatch" in path,
        authority=entry.get("hostname"),
        scheme=entry.get("scheme"),
        port=int(entry.get("port") or 0),
        code=int(entry.get("statusCode") or 302),
    )


def _cors(entry: Object | None) -> Cors | None:
    if entry is None:
        return None
    return Cors(
        tuple(_origin(each) for each in entry.get("allowOrigins") or ()),
        methods=tuple(entry.get("allowMethods") or ()),
        headers=tuple(entry.get("allowHeaders") or ()),
        expose=tuple(entry.get("exposeHeaders") or ()),
        credentials=bool(entry.get("allowCredentials")),
        max_age_seconds=int(entry.get("maxAge", 5)),
    )


def _origin(text: str) -> TextMatch:
    if text == "*":
        return TextMatch(MatchType.PREFIX, "")
    if "*" in text:
        return TextMatch(MatchType.REGEX, re.escape(text).replace(r"\*", ".*"))
    return TextMatch(MatchType.EXACT, text)
