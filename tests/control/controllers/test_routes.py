"""The gateway's document: services, VirtualServices, and what they can't do."""

from __future__ import annotations

from typing import Any

import pytest

from flambeau.control.controllers.routing.desired import Routes, routes
from flambeau.control.controllers.routing.directory import Snapshot
from flambeau.control.controllers.sidecar import LoggerConfig, logger_account, logger_of, to_annotations
from flambeau.control.resources.kind import Object
from flambeau.gateway.document import (
    Backend,
    Cors,
    Destination,
    DirectResponse,
    Endpoint,
    Fault,
    FileFormat,
    HeaderChanges,
    Headers,
    Host,
    Logger,
    LogStore,
    MatchType,
    Mirror,
    Redirect,
    RequestMatch,
    Rewrite,
    Shadow,
    TextMatch,
)
from flambeau.gateway.document import Batcher as BatcherSettings
from flambeau.gateway.table import Table

INGRESS = "knative-serving/knative-ingress-gateway"
LOCAL = "knative-local-gateway.istio-system.svc.cluster.local"
FULL = "mnist.ns.svc.cluster.local"


def service(traffic: dict[str, int] | None = None) -> Object:
    shares = [{"revisionName": name, "percent": percent} for name, percent in ({"r1": 100} if traffic is None else traffic).items()]
    ready = {"type": "PredictorReady", "status": "False", "message": "the moon is wrong"}
    status = {"conditions": [ready], "components": {"predictor": {"traffic": shares}}}
    return {"metadata": {"name": "mnist", "namespace": "ns"}, "spec": {"predictor": {}}, "status": status}


def revision(name: str, **spec: Any) -> Object:
    ready = {"type": "Ready", "status": "False", "message": "the moon is wrong"}
    return {"metadata": {"name": name, "namespace": "ns"}, "spec": spec, "status": {"conditions": [ready]}}


def pod(name: str, of: str, *, ready: bool = True, going: bool = False, port: int | None = None) -> Object:
    metadata: Object = {"name": name, "namespace": "ns", "labels": {"serving.knative.dev/revision": of}}
    if going:
        metadata["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    container = {"ports": [{"containerPort": port}]} if port else {}
    condition = {"type": "Ready", "status": "True" if ready else "False"}
    return {"metadata": metadata, "spec": {"containers": [container]}, "status": {"podIP": "127.1.1.1", "conditions": [condition]}}


def virtual_service(
    *http: Object, hosts: tuple[str, ...] = ("mnist.example.com",), gateways: tuple[str, ...] | None = (INGRESS,)
) -> Object:
    spec: Object = {"hosts": list(hosts), "http": list(http)}
    if gateways is not None:
        spec["gateways"] = list(gateways)
    return {"metadata": {"name": "vs", "namespace": "ns", "creationTimestamp": "2026-01-01T00:00:00Z"}, "spec": spec}


GATEWAY = {"metadata": {"name": "knative-ingress-gateway", "namespace": "knative-serving"}}


def compiled(*virtual_services: Object, services: tuple[Object, ...] = (service(),), pods: tuple[Object, ...] | None = None) -> Routes:
    there = (pod("p1", "r1"), pod("p2", "r2")) if pods is None else pods
    snapshot = Snapshot(
        services, (revision("r1", timeoutSeconds=60, containerConcurrency=3), revision("r2")), there, virtual_services, (GATEWAY,)
    )
    found = routes(snapshot, "example.org", 7)
    Table(found.document)  # the gateway takes whatever is written
    return found


def host(found: Routes, name: str) -> Host:
    return next(each for each in found.document.hosts if each.name == name)


def to(name: str, weight: int | None = None) -> Object:
    return {"destination": {"host": name}, **({} if weight is None else {"weight": weight})}


def warnings(found: Routes) -> str:
    return " ".join(text for texts in found.warnings.values() for text in texts)


@pytest.mark.parametrize("suffix", [".example.org", ".svc.cluster.local", ".svc", ""])
@pytest.mark.parametrize("name", ["mnist.ns", "mnist-predictor.ns"])
def test_a_service_answers_at_all_its_names(name: str, suffix: str) -> None:
    (rule,) = host(compiled(), name + suffix).rules
    assert rule.destinations == (Destination(100, backend="ns/r1"),)
    assert rule.source == "InferenceService ns/mnist"


def test_a_backend_is_a_revisions_ready_pods() -> None:
    pods = (pod("b", "r1", port=9000), pod("a", "r1"), pod("c", "r1", ready=False), pod("d", "r1", going=True))
    backend = next(each for each in compiled(pods=pods).document.backends if each.name == "ns/r1")
    assert backend.endpoints == (Endpoint("127.1.1.1", 8080, "ns/a"), Endpoint("127.1.1.1", 9000, "ns/b"))
    assert (backend.timeout_seconds, backend.concurrency) == (60.0, 3)


def test_grpc_goes_to_its_own_port() -> None:
    ours, named, plain = pod("a", "r1"), pod("b", "r1", port=9000), pod("c", "r1", port=9000)
    ours["spec"]["containers"][0]["image"] = "pytorch/torchserve-kfs:0.9.0"
    named["spec"]["containers"][0]["ports"][0]["name"] = "h2c"
    backend = next(each for each in compiled(pods=(ours, named, plain)).document.backends if each.name == "ns/r1")
    assert [(each.port, each.grpc_port) for each in backend.endpoints] == [(8080, 8081), (9000, 9000), (9000, 0)]


def test_a_split_has_weights_and_nothing_for_nobody() -> None:
    (rule,) = host(compiled(services=(service({"r1": 80, "r2": 20, "r3": 0}),)), FULL).rules
    assert rule.destinations == (Destination(80, backend="ns/r1"), Destination(20, backend="ns/r2"))


@pytest.mark.parametrize(("traffic", "name"), [({}, "ns/mnist-predictor"), ({"r1": 100}, "ns/r1")])
def test_a_service_that_cannot_answer_says_why(traffic: dict[str, int], name: str) -> None:
    found = compiled(services=(service(traffic),), pods=())
    (rule,) = host(found, FULL).rules
    assert rule.destinations == (Destination(100, backend=name),)
    backend = next(each for each in found.document.backends if each.name == name)
    assert "the moon is wrong" in backend.why_empty


def test_the_shape_that_tutorials_show() -> None:
    rule = {"match": [{"uri": {"prefix": "/"}}], "rewrite": {"authority": "mnist-predictor.ns.svc.cluster.local"}, "route": [to(LOCAL)]}
    found = compiled(virtual_service(rule))
    (made,) = host(found, "mnist.example.com").rules
    assert made.destinations == (Destination(100, backend="ns/r1"),)
    assert made.rewrite == Rewrite(authority="mnist-predictor.ns.svc.cluster.local")
    assert made.matches == (RequestMatch(uri=TextMatch(MatchType.PREFIX, "/")),)
    assert warnings(found) == ""


@pytest.mark.parametrize(
    "name", ["mnist-predictor.ns.svc.cluster.local", "mnist.ns", "mnist", "mnist.ns.svc", "mnist.ns.example.org", "R1"]
)
def test_a_destination_is_known_by_every_name(name: str) -> None:
    (rule,) = host(compiled(virtual_service({"route": [to(name)]})), "mnist.example.com").rules
    assert rule.destinations == (Destination(100, backend="ns/r1"),)


def test_weights_multiply_with_a_services_own() -> None:
    split = (service({"r1": 80, "r2": 20}),)
    (rule,) = host(compiled(virtual_service({"route": [to("mnist", 3), to("r1", 1)]}), services=split), "mnist.example.com").rules
    assert rule.destinations == (Destination(240, backend="ns/r1"), Destination(60, backend="ns/r2"), Destination(100, backend="ns/r1"))


def test_an_unknown_destination_says_so_in_its_503_and_in_a_warning() -> None:
    found = compiled(virtual_service({"route": [to("absent")]}))
    (rule,) = host(found, "mnist.example.com").rules
    backend = next(each for each in found.document.backends if each.name == rule.destinations[0].backend)
    assert 'VirtualService ns/vs sends it to "absent", which is no service here' in backend.why_empty
    assert FULL in backend.why_empty
    assert "looked up in the namespace ns" in warnings(found)


def test_an_authority_that_is_another_virtual_services_host_is_looked_up_again() -> None:
    rule = {"rewrite": {"authority": "other.example.com"}, "route": [to(LOCAL)]}
    (made,) = host(compiled(virtual_service(rule)), "mnist.example.com").rules
    assert made.destinations == (Destination(100, reroute=True, host="other.example.com"),)


def test_rules_on_a_services_own_host_come_first_and_do_not_go_in_circles() -> None:
    rule = {"match": [{"uri": {"prefix": "/x"}}], "rewrite": {"uri": "/y"}, "route": [to(LOCAL)]}
    first, last = host(compiled(virtual_service(rule, hosts=(FULL,))), FULL).rules
    assert (first.source, first.rewrite.uri) == ("VirtualService ns/vs", "/y")
    assert first.destinations == last.destinations == (Destination(100, backend="ns/r1"),)


def test_an_authority_whose_explanations_go_elsewhere_keeps_its_rules() -> None:
    split = service()
    split["spec"]["explainer"] = {"containers": []}
    split["status"]["components"]["explainer"] = {"traffic": [{"revisionName": "r2", "percent": 100}]}
    found = compiled(virtual_service({"rewrite": {"authority": FULL}, "route": [to(LOCAL)]}), services=(split,))
    (rule,) = host(found, "mnist.example.com").rules
    assert rule.destinations == (Destination(100, reroute=True, host=FULL),)
    explain, everything = host(found, FULL).rules
    assert [each.backend for each in (*explain.destinations, *everything.destinations)] == ["ns/r2", "ns/r1"]


@pytest.mark.parametrize("gateways", [None, ("mesh",), ("knative-serving/absent",), ("absent",)])
def test_a_virtual_service_of_no_gateway_here_routes_nothing_and_is_warned(gateways: tuple[str, ...] | None) -> None:
    found = compiled(virtual_service({"route": [to("mnist")]}, gateways=gateways))
    assert all(each.name != "mnist.example.com" for each in found.document.hosts)
    assert "none of which is an ingress gateway here" in warnings(found)


def test_gateways_of_istios_namespace_count_as_there() -> None:
    assert host(compiled(virtual_service({"route": [to("mnist")]}, gateways=("mesh", "istio-system/any"))), "mnist.example.com").rules


@pytest.mark.parametrize(("written", "wanted"), [("Short", "short.ns.svc.cluster.local"), ("*.Example.com", "*.example.com"), ("*", "*")])
def test_hosts(written: str, wanted: str) -> None:
    assert host(compiled(virtual_service({"route": [to("mnist")]}, hosts=(written,))), wanted).rules


def test_matches() -> None:
    match = {
        "uri": {"regex": "/v1/.*"},
        "ignoreUriCase": True,
        "method": {"exact": "POST"},
        "headers": {"X-User": {"exact": "me"}, "X-There": {}},
        "queryParams": {"q": {"prefix": "a"}},
    }
    (rule,) = host(compiled(virtual_service({"match": [match], "route": [to("mnist")], "timeout": "1m30s"})), "mnist.example.com").rules
    assert rule.timeout_seconds == 90.0
    assert rule.matches == (
        RequestMatch(
            uri=TextMatch(MatchType.REGEX, "/v1/.*", ignore_case=True),
            method=TextMatch(MatchType.EXACT, "POST"),
            headers=(("x-user", TextMatch(MatchType.EXACT, "me")), ("x-there", TextMatch(MatchType.PREFIX, ""))),
            query=(("q", TextMatch(MatchType.PREFIX, "a")),),
        ),
    )


@pytest.mark.parametrize(
    ("http", "words"),
    [
        ({"match": [{"uri": {"regex": "("}}], "route": [to("mnist")]}, "regular expression"),
        ({"match": [{"sourceNamespace": "x"}], "route": [to("mnist")]}, "sourceNamespace"),
        ({"redirect": {"uri": "no path"}}, "redirect.uri"),
        ({"delegate": {"name": "x"}}, "delegate ns/x: there is no such VirtualService without hosts"),
        ({"route": [to("mnist")], "headers": {"request": {"set": {"x": "a\nb"}}}}, "line break"),
        ({"rewrite": {"authority": "a b"}, "route": [to("mnist")]}, "authority"),
    ],
)
def test_what_cannot_be_done_costs_only_itself_and_is_told(http: Object, words: str) -> None:
    found = compiled(virtual_service(http, {"route": [to("mnist")]}))
    assert len(host(found, "mnist.example.com").rules) == 1
    assert words in warnings(found)


def delegate(*http: Object, namespace: str = "ns") -> Object:
    made = virtual_service(*http, hosts=(), gateways=None)
    return {**made, "metadata": {**made["metadata"], "name": "part", "namespace": namespace}}


def test_a_rule_that_delegates_stands_for_the_delegates_rules() -> None:
    outer = {
        "match": [{"uri": {"prefix": "/a"}, "headers": {"x": {"exact": "1"}}}, {"uri": {"prefix": "/b"}}],
        "delegate": {"name": "part"},
        "timeout": "5s",
        "retries": {"attempts": 1},
    }
    inner = (
        {"match": [{"uri": {"exact": "/a/one"}, "queryParams": {"q": {"exact": "2"}}}], "route": [to("mnist")], "timeout": "9s"},
        {"route": [to("mnist")], "rewrite": {"uri": "/"}},
    )
    found = compiled(virtual_service(outer, {"redirect": {"uri": "/else"}}), delegate(*inner))
    one, rest, other = host(found, "mnist.example.com").rules
    header, query = ("x", TextMatch(MatchType.EXACT, "1")), ("q", TextMatch(MatchType.EXACT, "2"))
    assert one.matches == (RequestMatch(uri=TextMatch(MatchType.EXACT, "/a/one"), headers=(header,), query=(query,)),)
    assert (one.timeout_seconds, one.attempts, one.destinations) == (9.0, 2, rest.destinations)
    assert rest.matches == (
        RequestMatch(uri=TextMatch(MatchType.PREFIX, "/a"), headers=(header,)),
        RequestMatch(uri=TextMatch(MatchType.PREFIX, "/b")),
    )
    assert (rest.timeout_seconds, rest.rewrite.uri) == (5.0, "/")
    assert other.redirect is not None
    assert warnings(found) == ""


@pytest.mark.parametrize(
    ("outer", "inner", "is_taken"),
    [
        ({"uri": {"prefix": "/a"}}, {"uri": {"prefix": "/a/b"}}, True),
        ({"uri": {"prefix": "/a/b"}}, {"uri": {"prefix": "/a"}}, False),
        ({"uri": {"exact": "/a"}}, {"uri": {"exact": "/a"}}, True),
        ({"uri": {"exact": "/a"}}, {"uri": {"prefix": "/a"}}, False),
        ({"uri": {"regex": "/a"}}, {"uri": {"exact": "/a"}}, False),
        ({"uri": {"prefix": "/a"}}, {"uri": {"regex": "/a"}}, False),
        ({"uri": {"prefix": "/a"}}, {"uri": {"exact": "/a"}, "ignoreUriCase": True}, False),
        ({"method": {"exact": "GET"}}, {"method": {"exact": "POST"}}, False),
        ({"headers": {"x": {"exact": "1"}}}, {"headers": {"x": {"exact": "2"}}}, False),
        ({"headers": {"x": {"prefix": "a"}}}, {"headers": {"x": {"exact": "ab"}, "y": {"exact": "2"}}}, True),
    ],
)
def test_a_delegate_takes_only_what_it_is_given(outer: Object, inner: Object, is_taken: bool) -> None:
    rule = {"match": [outer], "delegate": {"name": "part"}}
    found = compiled(virtual_service(rule, {"redirect": {"uri": "/"}}), delegate({"match": [inner], "route": [to("mnist")]}))
    assert len(host(found, "mnist.example.com").rules) == 1 + is_taken
    assert ("matches nothing that it is delegated" in warnings(found)) is not is_taken


def test_a_delegates_short_names_are_of_its_own_namespace() -> None:
    rule = {"delegate": {"name": "part", "namespace": "other"}}
    found = compiled(virtual_service(rule), delegate({"route": [to("mnist")]}, {"delegate": {"name": "part"}}, namespace="other"))
    (only,) = host(found, "mnist.example.com").rules
    assert only.destinations[0].backend not in {each.backend for each in host(found, FULL).rules[0].destinations}
    assert "cannot delegate" in warnings(found)


def made(*http: Object, **fields: Any) -> Any:
    """Return the only rule of a VirtualService."""
    (rule,) = host(compiled(virtual_service({"route": [to("mnist")], **fields}, *http)), "mnist.example.com").rules
    return rule


def test_what_rules_do_beside_leading_somewhere() -> None:
    rule = made(
        headers={"request": {"set": {"a": "b"}, "remove": ["c"]}, "response": {"add": {"d": "e"}}},
        fault={"delay": {"fixedDelay": "2s", "percentage": {"value": 5}}, "abort": {"httpStatus": 503, "percent": 7}},
        mirror={"host": "r2"},
        mirrorPercentage={"value": 25},
        mirrors=[{"destination": {"host": "mnist"}}],
        corsPolicy={"allowOrigins": [{"regex": "https://.*"}, {"exact": "*"}], "allowMethods": ["POST"], "maxAge": "24h"},
        retries={"attempts": 4},
        rewrite={"uriRegexRewrite": {"match": "/a(.*)", "rewrite": r"/b\1"}},
    )
    assert rule.headers == Headers(HeaderChanges(set=(("a", "b"),), remove=("c",)), HeaderChanges(add=(("d", "e"),)))
    assert rule.fault == Fault(2.0, 5.0, 503, 7.0)
    assert rule.mirrors == (Mirror("ns/r2", 25.0), Mirror("ns/r1", 100.0))
    assert rule.cors == Cors(
        (TextMatch(MatchType.REGEX, "https://.*"), TextMatch(MatchType.PREFIX, "")), methods=("POST",), max_age_seconds=86400
    )
    assert (rule.attempts, rule.rewrite.pattern, rule.rewrite.replacement) == (5, "/a(.*)", r"/b\1")


def test_answers_without_a_destination() -> None:
    rules = (
        {"match": [{"uri": {"exact": "/a"}}], "redirect": {"uri": "/b", "redirectCode": 302}},
        {"directResponse": {"status": 503, "body": {"bytes": "aGk="}}},
    )
    redirect, direct = host(compiled(virtual_service(*rules)), "mnist.example.com").rules
    assert redirect.redirect == Redirect(uri="/b", code=302)
    assert direct.direct == DirectResponse(503, "hi")


def test_a_host_that_headers_set_is_looked_up_as_kserves_own_routes_have_it() -> None:
    names = {"request": {"set": {"Host": "mnist-predictor.ns.svc.cluster.local", "KServe-Isvc-Name": "mnist"}}}
    rule = made(route=[to(LOCAL)], headers=names)
    assert rule.destinations == (Destination(100, backend="ns/r1"),)
    assert rule.rewrite.authority == "mnist-predictor.ns.svc.cluster.local"
    assert rule.headers.request.set == (("KServe-Isvc-Name", "mnist"),)


def test_a_share_has_headers_of_its_own() -> None:
    rule = made(route=[{**to("mnist", 1), "headers": {"response": {"set": {"x-version": "1"}}}}, to("r2", 1)])
    assert [each.headers is not None for each in rule.destinations] == [True, False]


def test_the_scheme_decides_whether_a_match_can_apply() -> None:
    http = {"match": [{"scheme": {"exact": "https"}}], "route": [to("mnist")]}
    assert host(compiled(virtual_service(http)), "mnist.example.com").rules == ()


def test_a_rule_that_an_older_one_hides_is_told() -> None:
    younger = virtual_service({"match": [{"uri": {"prefix": "/v2"}}], "route": [to("r2")]})
    younger["metadata"] |= {"name": "young", "creationTimestamp": "2026-01-02T00:00:00Z"}
    found = compiled(virtual_service({"route": [to("mnist")]}), younger)
    assert len(host(found, "mnist.example.com").rules) == 2
    assert "the older VirtualService ns/vs takes every request there" in warnings(found)


def backend_of(found: Routes, name: str = "ns/r1") -> Backend:
    return next(each for each in found.document.backends if each.name == name)


def test_a_shadow_stands_beside_a_services_revisions() -> None:
    watched = service()
    watched["metadata"]["annotations"] = {"flambeau.dev/shadow": "r2=20"}
    assert backend_of(compiled(services=(watched,))).shadow == Shadow("r2", ("ns/r2",), 20.0)
    watched["metadata"]["annotations"] = {"flambeau.dev/shadow": "absent"}
    found = compiled(services=(watched,))
    assert backend_of(found).shadow is None
    assert 'shadow "absent"' in warnings(found)


def test_a_revision_carries_its_logger_and_batcher() -> None:
    wish = {
        "logger": {"url": "http://sink/x", "mode": "request", "metadataHeaders": ["X-User"], "metadataAnnotations": ["team", "no"]},
        "batcher": {"maxBatchSize": 8, "maxLatency": 50, "timeout": 3},
    }
    carrying = revision("r1")
    carrying["metadata"] |= {
        "labels": {"serving.kserve.io/inferenceservice": "mnist", "component": "predictor"},
        "annotations": {"team": "a", **to_annotations(wish)},
    }
    snapshot = Snapshot((service(),), (carrying,), (pod("p1", "r1"),), (), (GATEWAY,))
    backend = backend_of(routes(snapshot, "example.org", 1))
    assert backend.logger == Logger("http://sink/x", True, False, ("x-user",), (("team", "a"),), "mnist", "ns", "predictor")
    assert backend.batcher == BatcherSettings(8, 0.05, 3.0)
    assert to_annotations({}) == {}


def test_a_revision_carries_how_its_logger_keeps_files() -> None:
    storage = {"path": "/logs", "key": "k", "parameters": {"type": "s3", "format": "csv"}, "serviceAccountName": "writer"}
    carrying = revision("r1")
    wish = {"url": "s3://logs/pre", "storage": storage, "batchSize": 5000, "batchInterval": "1m30s", "marshallerUrl": "http://x"}
    carrying["metadata"]["annotations"] = to_annotations({"logger": wish})
    assert "key" not in carrying["metadata"]["annotations"]["flambeau.dev/logger-storage"], "what does not count makes no new revision"
    found = logger_of(carrying, LoggerConfig())
    assert found is not None
    assert (found.url, found.store) == ("s3://logs/pre", LogStore("/logs", FileFormat.CSV, 1000, 90.0, marshaller="http://x"))
    assert logger_account(carrying, LoggerConfig()) == "writer"
    plain = to_annotations({"logger": {**wish, "url": "http://sink"}})
    assert not [name for name in plain if name.startswith("flambeau.dev/")]
    carrying["metadata"]["annotations"] |= {
        **{f"flambeau.dev/logger-{name}": "soon" for name in ("batch-size", "batch-interval", "marshaller-url")},
        "flambeau.dev/logger-storage": "[1]",
    }
    assert (logger_of(carrying, LoggerConfig()) or found).store == LogStore()


@pytest.mark.parametrize(
    ("size", "latency", "timeout", "expected"),
    [
        ("many", "soon", "nan", BatcherSettings(32, 5.0, 0.0)),
        ("-1", "-1", "-1", BatcherSettings(1, 0.0, 0.0)),
        ("9" * 30, "9" * 30, "9" * 30, BatcherSettings(100_000, 600.0, 600.0)),
    ],
)
def test_notes_that_nobody_checked_hold_up_nobodys_routes(size: str, latency: str, timeout: str, expected: BatcherSettings) -> None:
    carrying = revision("r1")
    carrying["metadata"]["annotations"] = {
        "internal.serving.kserve.io/batcher": "true",
        "internal.serving.kserve.io/batcher-max-batchsize": size,
        "internal.serving.kserve.io/batcher-max-latency": latency,
        "flambeau.dev/batcher-timeout": timeout,
        "internal.serving.kserve.io/logger": "true",
        "internal.serving.kserve.io/logger-sink-url": "ftp://user:hush@nowhere:99999",
    }
    backend = backend_of(routes(Snapshot((service(),), (carrying,), (pod("p1", "r1"),), (), (GATEWAY,)), "example.org", 1))
    assert (backend.batcher, backend.logger) == (expected, None)
