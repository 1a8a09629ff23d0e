"""URLs of services."""

from __future__ import annotations

import pytest

from flambeau.control.controllers.hosts import Site
from flambeau.control.controllers.ingress_config import IngressConfig


@pytest.mark.parametrize(
    ("site", "url"),
    [
        (Site(), "http://m.ns.localhost:8000"),
        (Site(gateway_port=80), "http://m.ns.localhost"),
        (Site("example.com"), "http://m.ns.example.com"),
        (Site(scheme="https"), "https://m.ns.localhost:8000"),
        (Site(gateway_port=443, scheme="https"), "https://m.ns.localhost"),
        (Site("example.com", 8443, "https"), "https://m.ns.example.com"),
        (Site(ingress=IngressConfig(url_scheme="https")), "https://m.ns.localhost:8000"),
        (Site(ingress=IngressConfig("a.example", "{{.Name}}-{{ .Namespace }}.{{ .IngressDomain }}")), "http://m-ns.a.example"),
        (Site(ingress=IngressConfig("a.example", "{{.Name}} {{ .Namespace }}")), "http://m.ns.localhost:8000"),
    ],
)
def test_a_url_works_as_it_is_pasted(site: Site, url: str) -> None:
    assert site.url("m", "ns") == url


def test_a_service_may_be_known_by_a_path() -> None:
    site = Site(ingress=IngressConfig("a.example", path_template="/serving/{{ .Namespace }}/{{ .Name }}", url_scheme="https"))
    assert site.entry_url("m", "ns") == "https://a.example/serving/ns/m"
    assert site.url("m-predictor", "ns") == "https://m-predictor.ns.localhost:8000"
