"""Which ports of a container take HTTP and gRPC. Pure; the agent starts and probes by it, the gateway is told by it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from flambeau.control.resources.images import stands_for_own_command
from flambeau.control.resources.kind import Object
from flambeau.control.resources.pod_contract import DEFAULT_GRPC_PORT, DEFAULT_PORT
from flambeau.control.resources.pod_template import TRANSFORMER_CONTAINER

_OWN_PROGRAMS = ("torchserve", "flambeau")


def entry_container(containers: Sequence[Object]) -> Object:
    """Return the container that a pod's requests come to: a transformer that stands beside its predictor, else the first."""
    return next((each for each in containers if each.get("name") == TRANSFORMER_CONTAINER), containers[0])


def http_port(container: Mapping[str, Any]) -> int:
    """Return the port that HTTP requests go to: the first that isn't gRPC's, else 8080; of a server that has only gRPC, that."""
    ports = container.get("ports") or ()
    plain = [port for port in ports if not _is_grpc(port)]
    if plain:
        return int(plain[0]["containerPort"])
    return int(ports[0]["containerPort"]) if ports and not _is_ours(container) else DEFAULT_PORT


def grpc_port(container: Mapping[str, Any]) -> int:
    """Return the port that gRPC goes to: the one named h2c or grpc, else 8081 of our own servers; 0: HTTP's."""
    named = next((int(port["containerPort"]) for port in container.get("ports") or () if _is_grpc(port)), 0)
    return named or (DEFAULT_GRPC_PORT if _is_ours(container) else 0)


def _is_grpc(port: Mapping[str, Any]) -> bool:
    name = str(port.get("name") or "")
    return name in ("h2c", "grpc") or name.startswith(("h2c-", "grpc-"))


def _is_ours(container: Mapping[str, Any]) -> bool:
    words = [*(container.get("command") or ()), *(container.get("args") or ())]
    program = str(words[0]).rpartition("/")[2] if words else ""
    return program in _OWN_PROGRAMS or (not container.get("command") and stands_for_own_command(str(container.get("image") or "")))
