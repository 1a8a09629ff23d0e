"""Where requests go: hosts, matches, rewrites, weights, reroutes, and what a miss says."""

from __future__ import annotations

import random
import time
from collections import Counter
from typing import Any

import pytest

from flambeau.foundation.errors import InvalidInput
from flambeau.gateway.document import Backend, Destination, Document, Host, MatchType, RequestMatch, Rewrite, Rule, TextMatch
from flambeau.gateway.effects import Reply
from flambeau.gateway.table import Detour, Miss, MissReason, Route, Table

MNIST = Backend("torchserve/mnist-00001", (), timeout_seconds=60)
OTHER = Backend("torchserve/mnist-00002", ())


def to(backend: Backend, weight: int = 100) -> Destination:
    return Destination(weight=weight, backend=backend.name)


def exact(value: str, **more: Any) -> TextMatch:
    return TextMatch(MatchType.EXACT, value, **more)


def prefix(value: str, **more: Any) -> TextMatch:
    return TextMatch(MatchType.PREFIX, value, **more)


def regex(value: str, **more: Any) -> TextMatch:
    return TextMatch(MatchType.REGEX, value, **more)


def rule(*matches: RequestMatch, backend: Backend = MNIST, **more: Any) -> Rule:
    return Rule(more.pop("destinations", (to(backend),)), matches, **more)


def table(*hosts: Host) -> Table:
    return Table(Document(1, hosts, (MNIST, OTHER)))


def ask(
    asked: Table, host: str, path: str = "/", *, method: str = "GET", draw: float = 0.0, headers: Any = ()
) -> Route | Detour | Reply | Miss:
    target, _, query = path.partition("?")
    return asked.route(host, target.encode(), query.encode(), method, headers, draw)


def route(asked: Table, host: str, path: str = "/", **more: Any) -> Route:
    found = ask(asked, host, path, **more)
    assert isinstance(found, Route), found
    return found


def miss(asked: Table, host: str, path: str = "/", **more: Any) -> Miss:
    found = ask(asked, host, path, **more)
    assert isinstance(found, Miss), found
    return found


def test_exact_host_beats_longest_suffix_beats_star() -> None:
    asked = table(
        Host("*", (rule(source="star"),)),
        Host("*.example.com", (rule(source="short"),)),
        Host("*.a.example.com", (rule(source="long"),)),
        Host("x.a.example.com", (rule(source="exact"),)),
    )
    sources = {
        "x.a.example.com": "exact",
        "y.a.example.com": "long",
        "z.y.a.example.com": "long",
        "a.example.com": "short",
        "example.com": "star",
        ".example.com": "star",
        "": "star",
    }
    assert {host: route(asked, host).source for host in sources} == sources
    assert asked.hosts == ["*", "*.a.example.com", "*.example.com", "x.a.example.com"]


def test_first_rule_with_a_match_wins_and_conditions_are_anded() -> None:
    asked = table(
        Host(
            "m",
            (
                rule(RequestMatch(uri=prefix("/v1"), method=exact("POST")), source="post"),
                rule(RequestMatch(uri=prefix("/v1")), RequestMatch(uri=exact("/ping")), source="or"),
                rule(RequestMatch(headers=(("X-Canary", exact("yes")),), query=(("a", exact("b c")),)), source="header and query"),
                rule(RequestMatch(authority=regex("m|n"), uri=regex(r"/v2/models/[\w-]+:infer")), source="regex"),
                rule(RequestMatch(uri=prefix("/CASE", ignore_case=True)), source="case"),
            ),
        )
    )
    assert route(asked, "m", "/v1/x", method="POST").source == "post"
    assert route(asked, "m", "/v1/x").source == "or"
    assert route(asked, "m", "/ping?q").source == "or"
    assert route(asked, "m", "/?a=b%20c", headers=[(b"x-canary", b"yes")]).source == "header and query"
    assert miss(asked, "m", "/?a=b%20c").reason is MissReason.NO_RULE
    assert route(asked, "m", "/v2/models/a-b:infer").source == "regex"
    assert miss(asked, "m", "/v2/models/a-b:infer/more").reason is MissReason.NO_RULE
    assert route(asked, "m", "/case/x").source == "case"


@pytest.mark.parametrize(
    ("uri", "rewrite", "path", "target"),
    [
        (prefix("/serving/"), "/", "/serving/v1/models", b"/v1/models"),
        (prefix("/serving"), "/", "/serving/v1", b"/v1"),
        (prefix("/serving"), "/", "/serving", b"/"),
        (prefix("/a"), "/b", "/a/c?d=e", b"/b/c?d=e"),
        (exact("/a"), "/v1/models/m:predict", "/a?x", b"/v1/models/m:predict?x"),
        (regex("/a/.*"), "/b", "/a/anything", b"/b"),
        (prefix("/A", ignore_case=True), "/b", "/a%2Fc", b"/b%2Fc"),
        (None, "/whole", "/anything", b"/whole"),
    ],
)
def test_rewrites_the_prefix_or_the_whole_path(uri: TextMatch | None, rewrite: str, path: str, target: bytes) -> None:
    asked = table(Host("m", (rule(RequestMatch(uri=uri), rewrite=Rewrite(uri=rewrite, authority="other.host")),)))
    found = route(asked, "m", path)
    assert (found.target, found.authority) == (target, "other.host")


def test_weights_split_2000_draws_as_asked() -> None:
    asked = table(Host("m", (rule(destinations=(to(MNIST, 90), to(OTHER, 10))),)))
    randomness = random.Random(7)
    counts = Counter(route(asked, "m", draw=randomness.random()).backend.name for _ in range(2000))
    assert 150 <= counts[OTHER.name] <= 250
    assert counts.total() == 2000
    never = table(Host("m", (rule(destinations=(to(MNIST, 0), to(OTHER, 1))),)))
    assert {route(never, "m", draw=draw / 100).backend.name for draw in range(100)} == {OTHER.name}


def test_a_reroute_looks_the_new_authority_up_and_splits_independently() -> None:
    def half(host: str) -> Destination:
        return Destination(weight=50, reroute=True, host=host)

    asked = table(
        Host("outer", (rule(destinations=(half("one"), half("two")), source="VirtualService a/outer", timeout_seconds=7),)),
        Host("one", (rule(destinations=(to(MNIST, 50), to(OTHER, 50)), rewrite=Rewrite(uri="/in")),)),
        Host("two", (rule(destinations=(to(MNIST, 50), to(OTHER, 50)), timeout_seconds=5),)),
    )
    counts = Counter(
        (route(asked, "outer", draw=draw / 400).backend.name, route(asked, "outer", draw=draw / 400).target) for draw in range(400)
    )
    assert set(counts.values()) == {100}
    found = route(asked, "outer", draw=0.9)
    assert (found.timeout_seconds, found.source, found.authority) == (5, "VirtualService a/outer", None)
    assert route(asked, "outer", draw=0.1).timeout_seconds == 7


def test_reroute_by_rewritten_authority_carries_it() -> None:
    local = Destination(weight=100, reroute=True, host="knative-local-gateway.istio-system.svc.cluster.local")
    asked = table(
        Host("mnist.example.com", (rule(destinations=(local,), rewrite=Rewrite(authority="M.svc.cluster.local:80")),)),
        Host("m.svc.cluster.local", (rule(),)),
    )
    found = route(asked, "mnist.example.com", "/x")
    assert (found.authority, found.timeout_seconds) == ("M.svc.cluster.local:80", 60)


def test_circles_end() -> None:
    def on(host: str) -> tuple[Destination, ...]:
        return (Destination(weight=1, reroute=True, host=host),)

    asked = table(Host("a", (rule(destinations=on("b"), source="VirtualService x/a"),)), Host("b", (rule(destinations=on("a")),)))
    assert miss(asked, "a").reason is MissReason.LOOP
    assert "VirtualService x/a" in miss(asked, "a").message
    growing = rule(RequestMatch(uri=prefix("/")), destinations=on("a"), rewrite=Rewrite(uri="/x/"))
    assert miss(table(Host("a", (growing,))), "a").reason is MissReason.LOOP
    lost = miss(table(Host("a", (rule(destinations=on("gone"), source="VirtualService x/a"),))), "a")
    assert lost.reason is MissReason.UNKNOWN_HOST
    assert "'gone', to which VirtualService x/a leads" in lost.message


def test_an_unknown_host_hears_which_there_are() -> None:
    asked = table(*(Host(f"h{number:03}", (rule(),)) for number in range(60)))
    told = miss(asked, "nobody")
    assert (told.hosts[0], len(told.hosts), told.hosts_more) == ("h000", 50, 10)
    assert "'nobody'" in told.message


def test_addresses_come_after_names() -> None:
    hosts = tuple(Host(name, (rule(),)) for name in ("127.255.1.2", "mnist.ns.localhost", "*.example.com"))
    assert table(*hosts).hosts == ["*.example.com", "mnist.ns.localhost", "127.255.1.2"]


def test_an_unknown_path_hears_the_rules() -> None:
    asked = table(Host("m", (rule(RequestMatch(uri=prefix("/v1"), method=exact("POST")), source="VirtualService a/b"),)))
    assert miss(asked, "m", "/v2").rules == ("uri prefix /v1 and method exact POST -> torchserve/mnist-00001 (VirtualService a/b)",)


def test_a_catastrophic_pattern_is_linear() -> None:
    asked = table(Host("m", (rule(RequestMatch(uri=regex("/(a+)+b"))),)))
    began = time.perf_counter()
    miss(asked, "m", "/" + "a" * 8000)
    assert time.perf_counter() - began < 2.0  # a backtracking engine would take longer than the universe has


@pytest.mark.parametrize(
    ("hosts", "told"),
    [
        ((Host("m", (rule(RequestMatch(uri=regex("(?=x)"))),)),), r"host m, rule 0: regular expression .*invalid perl operator"),
        ((Host("m", (rule(RequestMatch(uri=regex("a" * 2000))),)),), "2000 characters"),
        ((Host("m", (rule(backend=Backend("gone", ())),)),), "there is no backend 'gone'"),
        ((Host("m", (rule(destinations=()),)),), "needs destinations"),
        ((Host("m", (rule(destinations=(to(MNIST, 0), to(OTHER, 0))),)),), "sum to 0"),
        ((Host("m", (rule(destinations=(to(MNIST, -1), to(OTHER, 2))),)),), "negative"),
        ((Host("m", (rule(destinations=(Destination(weight=1),)),)),), "either a backend or reroute"),
        ((Host("m", (rule(destinations=(Destination(weight=1, reroute=True),)),)),), "names no host"),
        ((Host("m", (rule(rewrite=Rewrite(uri="/a\r\nb")),)),), "rewrite.uri"),
        ((Host("m", (rule(rewrite=Rewrite(authority="a b")),)),), "rewrite.authority"),
        ((Host("m", (rule(timeout_seconds=0.0),)),), "not over 0"),
        ((Host("m", ()), Host("m", ())), "twice"),
        ((Host("M", ()),), "lower case"),
        ((Host("a.*.b", ()),), "wildcard"),
    ],
)
def test_a_document_that_contradicts_itself_is_refused(hosts: tuple[Host, ...], told: str) -> None:
    with pytest.raises(InvalidInput, match=told):
        table(*hosts)
    with pytest.raises(InvalidInput, match="same name"):
        Table(Document(1, (), (MNIST, MNIST)))
