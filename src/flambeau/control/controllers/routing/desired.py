"""The gateway's whole document, from everything that is there. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from flambeau.control.controllers.names import SERVICES
from flambeau.control.controllers.routing.delegates import delegates_of
from flambeau.control.controllers.routing.directory import Directory, Entrance, Snapshot, directory
from flambeau.control.controllers.routing.http_routes import CompiledRoute, Rank, compile_http_route
from flambeau.control.controllers.routing.virtual_services import compile_virtual_service
from flambeau.control.resources.kind import Key, Object
from flambeau.gateway.document import Destination, Document, Host, MatchType, RequestMatch, Rewrite, Rule, TextMatch

_EXPLAIN = RequestMatch(uri=TextMatch(MatchType.REGEX, r"/v1/models/[\w.-]+:explain"))

VIRTUAL_SERVICES = "virtualservices.networking.istio.io"
HTTP_ROUTES = "httproutes.gateway.networking.k8s.io"


@dataclass(frozen=True, slots=True)
class Routes:
    """What is to be written, and what is to be told about it."""

    document: Document
    directory: Directory
    warnings: dict[Key, tuple[str, ...]]
    """By object."""
    http_routes: tuple[CompiledRoute, ...] = ()
    """As the snapshot has them."""


def routes(snapshot: Snapshot, domain: str, version: int, scheme: str = "http") -> Routes:
    """Return the routes.

    A VirtualService's rules stand before the ones that every service has, older VirtualServices before younger ones; those of HTTPRoutes
    stand between them.

    Args:
        snapshot: everything, as of one moment.
        domain: of the services' outside names.
        version: of the document.
        scheme: what the gateway's clients speak.
    """
    known = directory(snapshot, domain)
    rules: dict[str, list[Rule]] = {}
    backends = dict(known.backends)
    warnings: dict[Key, tuple[str, ...]] = {}
    delegates = delegates_of(snapshot.virtual_services)
    for virtual_service in sorted(snapshot.virtual_services, key=_age):
        compiled = compile_virtual_service(virtual_service, delegates, snapshot.gateways, known, scheme)
        conflicts = tuple(_conflict(host, rules[host]) for host, own in compiled.rules.items() if own and _is_taken(rules.get(host)))
        for host, own in compiled.rules.items():
            rules.setdefault(host, []).extend(own)
        backends.update({backend.name: backend for backend in compiled.backends})
        metadata = virtual_service["metadata"]
        warnings[Key(VIRTUAL_SERVICES, metadata["namespace"], metadata["name"])] = compiled.warnings + conflicts
    http_routes = tuple(compile_http_route(each, snapshot.gateways, known) for each in snapshot.http_routes)
    for host, ranked in _ranked(http_routes).items():
        rules.setdefault(host, []).extend(ranked)
    for route, compiled_route in zip(snapshot.http_routes, http_routes, strict=True):
        backends.update({backend.name: backend for backend in compiled_route.backends})
        warnings[Key(HTTP_ROUTES, route["metadata"]["namespace"], route["metadata"]["name"])] = compiled_route.warnings
    everybody = (*(("InferenceService", each) for each in known.services), *(("InferenceGraph", each) for each in known.graphs))
    for kind, service in everybody:
        source = f"{kind} {service.namespace}/{service.name}"
        for entrance in service.entrances:
            for host in entrance.hosts:
                rules.setdefault(host, []).extend(_rules(entrance, source))
            if entrance.path:
                rules.setdefault(snapshot.ingress.domain, []).append(_path_rule(entrance, source))
    warnings |= {Key(SERVICES, *place): (text,) for place, text in known.warnings.items()}
    hosts = tuple(Host(name, tuple(rules[name])) for name in sorted(rules))
    document = Document(version, hosts, tuple(backends[name] for name in sorted(backends)), known.addresses)
    return Routes(document, known, warnings, http_routes)


def _ranked(routes: Sequence[CompiledRoute]) -> dict[str, list[Rule]]:
    """Return all HTTPRoutes' rules by host, the most particular first."""
    by_host: dict[str, list[tuple[Rank, Rule]]] = {}
    for route in routes:
        for host, ranked in route.rules.items():
            by_host.setdefault(host, []).extend(ranked)
    return {host: [rule for _, rule in sorted(ranked, key=lambda each: each[0])] for host, ranked in by_host.items()}


def _rules(entrance: Entrance, source: str) -> list[Rule]:
    """Return the rules of an entrance's hosts: explanations first, where somebody else gives them."""
    everything = Rule(entrance.destinations, source=source)
    tagged = [Rule((to,), (_has_tag(tag),), source=source) for tag, to in entrance.tagged]
    return [*tagged, Rule(entrance.explain, (_EXPLAIN,), source=source), everything] if entrance.explain else [*tagged, everything]


def _has_tag(tag: str) -> RequestMatch:
    return RequestMatch(headers=(("knative-serving-tag", TextMatch(MatchType.EXACT, tag)),))


def _path_rule(entrance: Entrance, source: str) -> Rule:
    """Return the rule for a service that is known by a path; the service sees what stands behind it, and looks itself up by its host."""
    matches = tuple(
        RequestMatch(uri=TextMatch(*uri)) for uri in ((MatchType.PREFIX, entrance.path + "/"), (MatchType.EXACT, entrance.path))
    )
    return Rule((Destination(100, reroute=True, host=entrance.hosts[0]),), matches, Rewrite("/"), source=source)


def _is_taken(rules: list[Rule] | None) -> bool:
    """Tell whether an older object's rule takes everything, so that younger ones never get a request."""
    return rules is not None and any(not rule.matches for rule in rules)


def _conflict(host: str, rules: list[Rule]) -> str:
    first = next(rule.source for rule in rules if not rule.matches)
    return f"host {host}: the older {first} takes every request there; rules of this object get none"


def _age(virtual_service: Object) -> tuple[str, str, str]:
    metadata = virtual_service["metadata"]
    return metadata["creationTimestamp"], metadata["namespace"], metadata["name"]
