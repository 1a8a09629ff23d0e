"""Host names beside the platform's own: the administrator's domains and paths, and revisions with tags."""

from __future__ import annotations

import json
from typing import Any

import pytest

from flambeau.control.controllers.ingress_config import NOTHING_SAID, IngressConfig, ingress_config
from flambeau.control.controllers.routing.desired import routes
from flambeau.control.controllers.routing.directory import Snapshot
from flambeau.gateway.table import Miss, Route, Table
from tests.control.controllers.test_routes import GATEWAY, pod, revision, service


def config(**fields: Any) -> IngressConfig:
    return ingress_config({"data": {"ingress": json.dumps(fields)}})


def table(ingress: IngressConfig = NOTHING_SAID, *, annotations: dict[str, str] | None = None, traffic: Any = None) -> Table:
    known = service({"r1": 80, "r2": 20})
    known["metadata"]["annotations"] = annotations or {}
    if traffic is not None:
        known["status"]["components"]["predictor"]["traffic"] = traffic
    pods = (pod("p1", "r1"), pod("p2", "r2"))
    snapshot = Snapshot((known,), (revision("r1"), revision("r2")), pods, (), (GATEWAY,), ingress=ingress)
    return Table(routes(snapshot, "example.org", 1).document)


def ask(found: Table, host: str, path: str = "/x", headers: tuple[tuple[bytes, bytes], ...] = ()) -> Any:
    return found.route(host, path.encode(), b"", "GET", headers, 0.0)


def test_domains_and_templates_of_the_administrator() -> None:
    said = config(
        ingressDomain="Example.com",
        domainTemplate="{{ .Name }}-{{ .Namespace }}.{{ .IngressDomain }}",
        additionalIngressDomains=["a.example", "b.example"],
    )
    found = table(said)
    for host in ("mnist.ns.a.example", "mnist-predictor.ns.b.example", "mnist-ns.example.com", "mnist.ns.example.org"):
        assert isinstance(ask(found, host), Route), host


def test_a_path_leads_to_a_service() -> None:
    found = table(config(ingressDomain="example.com", pathTemplate="/serving/{{ .Namespace }}/{{ .Name }}"))
    assert ask(found, "example.com", "/serving/ns/mnist/v1/models").target == b"/v1/models"
    assert ask(found, "example.com", "/serving/ns/mnist").target == b"/"
    assert isinstance(ask(found, "example.com", "/serving/ns/mnist2/v1"), Miss)
    assert isinstance(ask(found, "example.com", "/serving/ns/other/v1"), Miss)


@pytest.mark.parametrize("text", ["", "[]", "no json", '{"ingressDomain": 3}', '{"ingressDomain": "a b", "pathTemplate": "/{{ .Name }}"}'])
def test_what_cannot_be_read_is_not_said(text: str) -> None:
    found = ingress_config({"data": {"ingress": text}})
    assert (found.hosts("a", "b"), found.path("a", "b")) == ((), "")
    assert ingress_config(None) == IngressConfig()


def test_a_template_that_makes_no_host_or_path_makes_none() -> None:
    said = config(ingressDomain="example.com", domainTemplate="{{ .Name }}/{{ .Unknown }}", pathTemplate="/a b/{{ .Name }}")
    assert (said.hosts("a", "b"), said.path("a", "b")) == ((), "")


TRAFFIC = [
    {"revisionName": "r1", "percent": 0, "latestRevision": True},
    {"revisionName": "r2", "percent": 100, "tag": "prev", "latestRevision": False},
]


def test_revisions_with_tags_have_hosts_and_a_header() -> None:
    tagging = {"serving.kserve.io/enable-tag-routing": "true"}
    found = table(annotations=tagging, traffic=TRAFFIC)
    assert ask(found, "prev-mnist-predictor.ns.example.org").backend.name == "ns/r2"
    assert ask(found, "latest-mnist-predictor.ns.example.org").backend.name == "ns/r1"
    assert ask(found, "mnist-predictor.ns.example.org").backend.name == "ns/r2"
    assert ask(found, "mnist-predictor.ns.example.org", headers=((b"Knative-Serving-Tag", b"latest"),)).backend.name == "ns/r1"


def test_without_the_annotation_only_the_previous_one_has_a_tag() -> None:
    found = table(traffic=TRAFFIC)
    assert ask(found, "prev-mnist-predictor.ns.example.org").backend.name == "ns/r2"
    assert isinstance(ask(found, "latest-mnist-predictor.ns.example.org"), Miss)
    assert ask(found, "mnist-predictor.ns.example.org", headers=((b"Knative-Serving-Tag", b"latest"),)).backend.name == "ns/r2"
