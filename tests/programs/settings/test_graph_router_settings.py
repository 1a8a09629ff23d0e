"""The router's flags and environment."""

from __future__ import annotations

from pathlib import Path

import pytest

from flambeau.foundation.errors import InvalidInput
from flambeau.gateway.graph.calls import Gateway
from flambeau.programs.settings.graph_router import Flags, router_settings


def flags(gateway: str | None = None, inside: str = "") -> Flags:
    return Flags("{}", gateway, inside, timeout=1, call_timeout=2, read_timeout=3, idle_timeout=4)


def test_a_pods_environment() -> None:
    environment = {
        "FLAMBEAU_POD_IP": "127.1.2.3",
        "PORT": "9000",
        "PROPAGATE_HEADERS": "x-a, x-b.*,",
        "FLAMBEAU_TERMINATION_LOG": "/tmp/log",
    }
    settings = router_settings(flags("https://[::1]:8443", "a.ns, b.ns"), environment)
    assert (settings.host, settings.port, settings.termination_log) == ("127.1.2.3", 9000, Path("/tmp/log"))
    assert settings.propagated == ("x-a", "x-b.*")
    assert settings.gateway == Gateway("::1", 8443, tls=True)
    assert settings.inside == {"a.ns", "b.ns"}
    assert (settings.seconds_max, settings.call_seconds_max, settings.read_seconds_max, settings.idle_seconds_max) == (1, 2, 3, 4)


def test_nothing_said() -> None:
    settings = router_settings(flags("127.0.0.1:8000"), {})
    assert (settings.host, settings.port, settings.propagated, settings.termination_log) == ("0.0.0.0", 8080, (), None)
    assert settings.gateway == Gateway("127.0.0.1", 8000)
    assert router_settings(flags(), {}).gateway is None


@pytest.mark.parametrize("gateway", ["", "nowhere", "http://host", "ftp://host:1", "host:99999"])
def test_what_is_no_address(gateway: str) -> None:
    with pytest.raises(InvalidInput):
        router_settings(flags(gateway), {})


def test_a_port_that_is_none() -> None:
    with pytest.raises(InvalidInput):
        router_settings(flags(), {"PORT": "many"})
