"""HTTP's and gRPC's port of a container."""

from __future__ import annotations

from typing import Any

import pytest

from flambeau.control.resources.pod_ports import grpc_port, http_port

OURS = "docker.io/pytorch/torchserve-kfs:0.9.0"


def port(number: int, name: str = "") -> dict[str, Any]:
    return {"containerPort": number, "name": name} if name else {"containerPort": number}


@pytest.mark.parametrize(
    ("container", "http", "grpc"),
    [
        ({}, 8080, 0),
        ({"ports": [port(5), port(6)]}, 5, 0),
        ({"ports": [port(9000, "h2c")]}, 9000, 9000),
        ({"ports": [port(9000, "grpc"), port(8000, "http1")]}, 8000, 9000),
        ({"image": OURS}, 8080, 8081),
        ({"image": OURS, "ports": [port(7070, "h2c")]}, 8080, 7070),
        ({"image": OURS, "ports": [port(8085)]}, 8085, 8081),
        ({"image": "x", "command": ["/usr/bin/torchserve", "--start"]}, 8080, 8081),
        ({"image": OURS, "command": ["python", "server.py"]}, 8080, 0),
    ],
)
def test_ports(container: dict[str, Any], http: int, grpc: int) -> None:
    assert (http_port(container), grpc_port(container)) == (http, grpc)
