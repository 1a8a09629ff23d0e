"""Names of services in a container's words lead to their addresses, and nothing else is touched."""

from __future__ import annotations

import pytest

from flambeau.control.agent.cluster_names import addresses_of, lead, lead_home

ADDRESSES = {"mnist-predictor.ns": "127.255.1.2:8000", "mnist.ns": "127.255.1.3:8000"}


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("mnist-predictor.ns", "127.255.1.2:8000"),
        ("mnist-predictor.ns:80", "127.255.1.2:8000"),
        ("mnist-predictor.ns.svc", "127.255.1.2:8000"),
        ("http://mnist.ns.svc.cluster.local/v1/models", "http://127.255.1.3:8000/v1/models"),
        ("http://mnist.ns.svc.cluster.local.:8080/v1", "http://127.255.1.3:8000/v1"),
        ("--predictor_host=mnist-predictor.ns,mnist.ns", "--predictor_host=127.255.1.2:8000,127.255.1.3:8000"),
        ("mnist-predictor-default.ns", "127.255.1.2:8000"),
        ("absent.ns", "absent.ns"),
        ("mnist.nsx", "mnist.nsx"),
        ("my-mnist.ns", "my-mnist.ns"),
        ("a.mnist.ns", "a.mnist.ns"),
        ("mnist.ns.example.com", "mnist.ns.example.com"),
        ("me@mnist.ns", "me@mnist.ns"),
    ],
)
def test_names(text: str, wanted: str) -> None:
    assert lead(text, ADDRESSES) == wanted


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("localhost:8080", "127.3.4.5:8080"),
        ("http://127.0.0.1:8085/ping", "http://127.3.4.5:8085/ping"),
        ("localhost:9000", "localhost:9000"),
        ("localhost:80801", "localhost:80801"),
        ("my.localhost:8080", "my.localhost:8080"),
    ],
)
def test_containers_of_a_pod_reach_each_other(text: str, wanted: str) -> None:
    assert lead_home(text, "127.3.4.5", (8080, 8085)) == wanted


def test_addresses_are_read_from_services() -> None:
    def service(name: str, **spec: object) -> dict[str, object]:
        return {"metadata": {"name": name, "namespace": "ns"}, "spec": spec}

    ports = [{"port": 80, "nodePort": 8000}]
    services = [
        service("mnist", clusterIP="127.255.1.3", ports=ports),
        service("headless", clusterIP="None", ports=ports),
        service("users", clusterIP="10.0.0.1", ports=[{"port": 80}]),
        service("bare"),
    ]
    assert addresses_of(services) == {"mnist.ns": "127.255.1.3:8000"}
