"""HTTPRoutes as the gateway's rules, asked of a real table, and what their status says."""

from __future__ import annotations

from typing import Any

import pytest

from flambeau.control.controllers.routing.desired import Routes, routes
from flambeau.control.controllers.routing.directory import Snapshot
from flambeau.control.controllers.routing.http_routes import parent_statuses
from flambeau.control.resources.admission import review
from flambeau.control.resources.http_route import HTTP_ROUTE
from flambeau.control.resources.kind import Object
from flambeau.gateway.document import HeaderChanges, Mirror, Redirect
from flambeau.gateway.effects import Reply
from flambeau.gateway.table import Detour, Miss, Route, Table
from tests.control.controllers.test_routes import GATEWAY, pod, revision, service

PARENT = {"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "kserve-ingress-gateway", "namespace": "kserve"}


def http_route(
    *rules: Object, name: str = "route", hosts: tuple[str, ...] = ("a.example",), parents: tuple[Object, ...] = (PARENT,)
) -> Object:
    obj = {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": {"name": name, "namespace": "ns", "creationTimestamp": "2026-01-01T00:00:00Z", "generation": 2},
        "spec": {"parentRefs": list(parents), "hostnames": ["a.example"], "rules": list(rules)},
    }
    found = review(HTTP_ROUTE, obj, None)
    assert found.errors == ()
    return obj


def to(name: str, weight: int = 1, **more: Any) -> Object:
    return {"name": name, "port": 80, "weight": weight, **more}


def path(value: str, kind: str = "PathPrefix") -> Object:
    return {"path": {"type": kind, "value": value}}


def made(*http_routes: Object) -> Routes:
    pods = (pod("p1", "r1"), pod("p2", "r2"))
    snapshot = Snapshot((service(),), (revision("r1"), revision("r2")), pods, (), (GATEWAY,), http_routes=http_routes)
    return routes(snapshot, "example.org", 7)


def ask(found: Routes, target: str, *, method: str = "GET", headers: tuple[tuple[bytes, bytes], ...] = (), draw: float = 0.0) -> Any:
    where, _, query = target.partition("?")
    return Table(found.document).route("a.example", where.encode(), query.encode(), method, headers, draw)


def backend(answer: Any) -> str:
    assert isinstance(answer, Route), answer
    return answer.backend.name


def test_weights_share_and_names_lead_to_services() -> None:
    found = made(http_route({"backendRefs": [to("mnist", 3), to("r2", 1)]}))
    assert [backend(ask(found, "/x", draw=draw)) for draw in (0.0, 0.74, 0.76)] == ["ns/r1", "ns/r1", "ns/r2"]


def test_the_most_particular_match_wins_whichever_route_it_stands_in() -> None:
    found = made(
        http_route({"backendRefs": [to("r1")]}),
        http_route({"matches": [path("/a")], "backendRefs": [to("r2")]}, name="other"),
        http_route({"matches": [path("/a/b")], "backendRefs": [to("r1")]}, name="longer"),
        http_route({"matches": [path("/a/b/c", "Exact")], "backendRefs": [to("r2")]}, name="exact"),
    )
    asked = ("/", "/a", "/a/", "/ab", "/a/b", "/a/b/c", "/a/b/c/d")
    assert [backend(ask(found, each)) for each in asked] == ["ns/r1", "ns/r2", "ns/r2", "ns/r1", "ns/r1", "ns/r2", "ns/r1"]


def test_matches_of_method_headers_and_parameters() -> None:
    match = {
        "method": "POST",
        "headers": [{"name": "X-User", "value": "me"}],
        "queryParams": [{"name": "q", "value": "a|b", "type": "RegularExpression"}],
    }
    found = made(http_route({"matches": [match], "backendRefs": [to("r1")]}))
    assert backend(ask(found, "/?q=a", method="POST", headers=((b"x-user", b"me"),))) == "ns/r1"
    assert isinstance(ask(found, "/?q=a", headers=((b"x-user", b"me"),)), Miss)
    assert isinstance(ask(found, "/?q=c", method="POST", headers=((b"x-user", b"me"),)), Miss)


@pytest.mark.parametrize(
    ("change", "asked", "sent"),
    [
        ({"type": "ReplacePrefixMatch", "replacePrefixMatch": "/b"}, "/a/x?y", b"/b/x?y"),
        ({"type": "ReplacePrefixMatch", "replacePrefixMatch": "/b"}, "/a", b"/b"),
        ({"type": "ReplacePrefixMatch", "replacePrefixMatch": "/"}, "/a/x", b"/x"),
        ({"type": "ReplaceFullPath", "replaceFullPath": "/c"}, "/a", b"/c"),
    ],
)
def test_paths_are_rewritten(change: Object, asked: str, sent: bytes) -> None:
    rewrite = {"type": "URLRewrite", "urlRewrite": {"hostname": "b.example", "path": change}}
    answer = ask(made(http_route({"matches": [path("/a")], "filters": [rewrite], "backendRefs": [to("r1")]})), asked)
    assert (answer.target, answer.authority) == (sent, "b.example")


def test_filters() -> None:
    changes = {"set": [{"name": "a", "value": "b"}], "remove": ["c"]}
    filters = [
        {"type": "RequestHeaderModifier", "requestHeaderModifier": changes},
        {"type": "RequestMirror", "requestMirror": {"backendRef": {"name": "r2"}, "fraction": {"numerator": 1, "denominator": 4}}},
        {"type": "CORS", "cors": {"allowOrigins": ["https://*.example"], "allowMethods": ["POST"]}},
    ]
    own = {"type": "ResponseHeaderModifier", "responseHeaderModifier": {"add": [{"name": "d", "value": "e"}]}}
    found = made(http_route({"filters": filters, "backendRefs": [to("r1", filters=[own])], "timeouts": {"request": "7s"}}))
    (rule,) = next(each for each in found.document.hosts if each.name == "a.example").rules
    assert rule.headers is not None
    assert rule.headers.request == HeaderChanges(set=(("a", "b"),), remove=("c",))
    assert (rule.mirrors, rule.timeout_seconds) == ((Mirror("ns/r2", 25.0),), 7.0)
    answer = ask(found, "/")
    assert answer.effects.cors.allows("https://x.example")
    assert not answer.effects.cors.allows("https://x.example.evil")
    assert len(answer.effects.response) == 1


def test_a_redirect_and_a_rule_without_backends_answer_themselves() -> None:
    redirect = {"type": "RequestRedirect", "requestRedirect": {"scheme": "https", "statusCode": 301, "port": 8443}}
    found = made(http_route({"matches": [path("/r")], "filters": [redirect]}, {"matches": [path("/n")]}))
    answer = ask(found, "/r")
    assert isinstance(answer, Detour)
    assert answer.redirect == Redirect(scheme="https", port=8443, code=301)
    nobody = ask(found, "/n")
    assert isinstance(nobody, Reply)
    assert nobody.status == 500


def test_the_status_speaks_for_its_own_gateways_only() -> None:
    foreign = {**PARENT, "name": "other", "namespace": "x"}
    route = http_route({"backendRefs": [to("absent")]}, parents=(PARENT, foreign))
    found = made(route)
    (parent,) = parent_statuses(route, found.http_routes[0], 0.0)
    said = {each["type"]: (each["status"], each["reason"]) for each in parent["conditions"]}
    assert (parent["parentRef"], said) == (PARENT, {"Accepted": ("True", "Accepted"), "ResolvedRefs": ("False", "BackendNotFound")})
    assert 'destination "absent.ns" is no service here' in parent["conditions"][1]["message"]
    assert {each["observedGeneration"] for each in parent["conditions"]} == {2}
    route["status"] = {"parents": [parent]}
    assert parent_statuses(route, found.http_routes[0], 1000.0) == [parent], "nothing changed, nothing is written"

    bad = http_route({"matches": [path("(", "RegularExpression")], "backendRefs": [to("r1")]})
    (parent,) = parent_statuses(bad, made(bad).http_routes[0], 0.0)
    assert (parent["conditions"][0]["status"], parent["conditions"][0]["reason"]) == ("False", "UnsupportedValue")


def test_a_route_of_somebody_elses_gateway_routes_nothing() -> None:
    found = made(http_route({"backendRefs": [to("r1")]}, parents=({"name": "other"},)))
    assert isinstance(ask(found, "/"), Miss)
    assert found.http_routes[0].parents == (False,)


@pytest.mark.parametrize(
    ("rule", "place"),
    [
        ({"matches": [path("a")]}, "spec.rules[0].matches[0].path.value"),
        ({"filters": [{"type": "URLRewrite"}]}, "spec.rules[0].filters[0].urlRewrite"),
        ({"filters": [{"type": "RequestRedirect", "requestRedirect": {}}], "backendRefs": [to("a")]}, "spec.rules[0].filters"),
        ({"timeouts": {"request": "1"}}, "spec.rules[0].timeouts.request"),
        ({"filters": [{"type": "Unknown"}]}, "spec.rules[0].filters[0].type"),
    ],
)
def test_what_is_wrong_is_said_when_it_is_applied(rule: Object, place: str) -> None:
    metadata = {"name": "route", "namespace": "ns"}
    obj = {"apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute", "metadata": metadata, "spec": {"rules": [rule]}}
    assert place in [finding.path for finding in review(HTTP_ROUTE, obj, None).errors]
