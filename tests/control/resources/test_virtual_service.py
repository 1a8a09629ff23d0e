from __future__ import annotations

from typing import Any

import pytest

from flambeau.control.resources.admission import review
from flambeau.control.resources.durations import duration_seconds
from flambeau.control.resources.kind import Object, Review
from flambeau.control.resources.virtual_service import VIRTUAL_SERVICE

ROUTE: Object = {"destination": {"host": "knative-local-gateway.istio-system.svc.cluster.local"}}
GATEWAYS = ["knative-serving/knative-ingress-gateway"]


def admit(*rules: Object, **spec: Any) -> Review:
    obj = {
        "apiVersion": "networking.istio.io/v1",
        "kind": "VirtualService",
        "metadata": {"name": "mnist", "namespace": "home"},
        "spec": {"hosts": ["mnist.example.com"], "gateways": GATEWAYS, "http": list(rules), **spec},
    }
    return review(VIRTUAL_SERVICE, obj, None)


def errors(found: Review) -> dict[str, str]:
    return {finding.path: finding.message for finding in found.errors}


def test_what_the_workflow_uses() -> None:
    rule = {
        "match": [
            {"uri": {"prefix": "/v1"}, "authority": {"exact": "x"}, "method": {"regex": "GET|POST"}},
            {"uri": {"exact": "/"}, "ignoreUriCase": True, "headers": {"x": {}}, "queryParams": {"q": {"exact": ""}}},
        ],
        "rewrite": {"uri": "/", "authority": "mnist-predictor.home.svc.cluster.local"},
        "route": [{"destination": {"host": "a", "port": {"number": 80}}, "weight": 90}, {"destination": {"host": "b"}, "weight": 10}],
        "timeout": "30s",
    }
    assert admit(rule) == Review()
    assert admit({"redirect": {"uri": "/", "redirectCode": 308}}) == Review()
    everything = {
        "match": [{"withoutHeaders": {"x": {}}}],
        "route": [{**ROUTE, "headers": {"request": {"set": {"Host": "a", "x": "y"}}, "response": {"remove": ["x"]}}}],
        "fault": {"delay": {"fixedDelay": "1s", "percentage": {"value": 1.5}}, "abort": {"httpStatus": 503}},
        "mirror": {"host": "b"},
        "corsPolicy": {"allowOrigins": [{"exact": "a"}]},
        "retries": {"attempts": 2},
        "rewrite": {"uriRegexRewrite": {"match": "a", "rewrite": "b"}},
    }
    assert admit(everything) == Review()
    assert admit({"route": [ROUTE]}, hosts=["*", "*.example.com", "localhost"]) == Review()


@pytest.mark.parametrize(
    ("rule", "path", "message"),
    [
        ({}, "spec.http[0]", "exactly one of route, redirect, directResponse, delegate; it has none"),
        ({"route": [ROUTE], "redirect": {"uri": "/"}}, "spec.http[0]", "it has route and redirect"),
        ({"route": [{}]}, "spec.http[0].route[0].destination.host", "is required"),
        ({"route": [{"destination": {"host": "a", "port": {"number": 0}}}]}, "spec.http[0].route[0].destination.port.number", "65535"),
        ({"route": [{**ROUTE, "weight": -1}]}, "spec.http[0].route[0].weight", "negative"),
        ({"route": [ROUTE, ROUTE]}, "spec.http[0].route", "need weights"),
        ({"route": [{**ROUTE, "weight": "50"}]}, "spec.http[0].route[0].weight", "without quotes"),
        ({"route": [ROUTE], "timeout": "30"}, "spec.http[0].timeout", "30s"),
        ({"route": [ROUTE], "timeout": 30}, "spec.http[0].timeout", "must be a string"),
        ({"route": [ROUTE], "match": [{"uri": {"exact": "a", "prefix": "b"}}]}, "spec.http[0].match[0].uri", "only one of"),
        ({"route": [ROUTE], "match": [{"uri": {}}]}, "spec.http[0].match[0].uri", "must have one of"),
        ({"route": [ROUTE], "match": [{"uri": {"prefix": ""}}]}, "spec.http[0].match[0].uri.prefix", "not be empty"),
        ({"route": [ROUTE], "match": [{"uri": {"regex": "("}}]}, "spec.http[0].match[0].uri.regex", "no regular expression"),
        ({"route": [ROUTE], "match": [{"uri": {"prefx": "/"}}]}, "spec.http[0].match[0].uri.prefx", 'did you mean "prefix"?'),
        ({"delegate": {"namespace": "a"}}, "spec.http[0].delegate.name", "is required"),
        ({"redirect": {"redirectCode": 200}}, "spec.http[0].redirect.redirectCode", "301"),
        ({"directResponse": {"status": 99}}, "spec.http[0].directResponse.status", "200 to 599"),
        ({"route": [ROUTE], "mirrorPercentage": {"value": 101}}, "spec.http[0].mirrorPercentage.value", "0 to 100"),
        ({"route": [ROUTE], "fault": {"delay": {"fixedDelay": "1"}}}, "spec.http[0].fault.delay.fixedDelay", "30s"),
        ({"route": [ROUTE], "headers": {"request": {"set": {"a b": "c"}}}}, "spec.http[0].headers.request.set[a b]", "no header's name"),
        ({"route": [ROUTE], "headers": {"response": {"add": {"a": "b\r\nc: d"}}}}, "spec.http[0].headers.response.add[a]", "line breaks"),
        (
            {"route": [ROUTE], "headers": {"request": {"remove": ["Connection"]}}},
            "spec.http[0].headers.request.remove[Connection]",
            "itself",
        ),
        ({"route": [ROUTE], "rewrite": {"url": "/"}}, "spec.http[0].rewrite.url", 'did you mean "uri"?'),
    ],
)
def test_bad_rules(rule: Object, path: str, message: str) -> None:
    found = errors(admit(rule))
    assert path in found
    assert message in found[path]


def test_a_delegate_has_neither_hosts_nor_delegates() -> None:
    assert admit({"delegate": {"name": "a"}}) == Review()
    assert list(errors(admit({"delegate": {"name": "a"}}, hosts=[], gateways=None))) == ["spec.http[0].delegate"]


@pytest.mark.parametrize("hosts", [[], ["http://a"], ["a:80"], ["a/b"], ["a..b"], ["x" * 260]])
def test_bad_hosts(hosts: list[str]) -> None:
    assert any(path.startswith("spec.hosts") for path in errors(admit({"route": [ROUTE]}, hosts=hosts)))


@pytest.mark.parametrize(
    ("rule", "spec", "warning"),
    [
        ({"route": [ROUTE]}, {"gateways": None}, "none is named, which means mesh"),
        ({"route": [ROUTE]}, {"gateways": ["mesh"]}, "only mesh is named"),
        ({"route": [ROUTE]}, {"hosts": [], "gateways": None}, "routes only what another VirtualService delegates to it"),
        (
            {"route": [ROUTE], "retries": {"attempts": 3, "retryOn": "5xx"}, "fault": {"abort": {"grpcStatus": "A"}}},
            {},
            "retries.retryOn, fault.abort.grpcStatus are not served here",
        ),
        ({"route": [{"destination": {"host": "a", "subset": "v1"}}]}, {}, "route.destination.subset is not served here"),
        ({"route": [ROUTE], "match": [{"sourceNamespace": "x"}]}, {}, "sourceNamespace cannot be looked at here"),
        ({"route": [ROUTE]}, {"tcp": [{}]}, "spec.tcp: is not served here"),
    ],
)
def test_what_has_no_effect_is_said(rule: Object, spec: Object, warning: str) -> None:
    found = admit(rule, **spec)
    assert found.errors == ()
    assert warning in found.warnings[0]


def test_no_rules_route_nothing() -> None:
    assert "routes nothing" in admit().warnings[0]


@pytest.mark.parametrize(("text", "seconds"), [("30s", 30), ("1m30s", 90), ("250ms", 0.25), ("1.5h", 5400), ("0", 0), (".5s", 0.5)])
def test_durations(text: str, seconds: float) -> None:
    assert duration_seconds(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "30", "s", "1d", "-1s", "1 s"])
def test_no_durations(text: str) -> None:
    with pytest.raises(ValueError, match="no duration"):
        duration_seconds(text)
