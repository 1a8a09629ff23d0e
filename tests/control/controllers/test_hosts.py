"""URLs of services."""

from __future__ import annotations

import pytest

from flambeau.control.controllers.hosts import Site


@pytest.mark.parametrize(
    ("site", "url"),
    [
        (Site(), "http://m.ns.localhost:8000"),
        (Site(gateway_port=80), "http://m.ns.localhost"),
        (Site("example.com"), "http://m.ns.example.com"),
        (Site(scheme="https"), "https://m.ns.localhost:8000"),
        (Site(gateway_port=443, scheme="https"), "https://m.ns.localhost"),
        (Site("example.com", 8443, "https"), "https://m.ns.example.com"),
    ],
)
def test_a_url_works_as_it_is_pasted(site: Site, url: str) -> None:
    assert site.url("m", "ns") == url
