"""How an InferenceGraph's router runs: its flags, and what a pod's environment says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from flambeau.foundation.errors import InvalidInput
from flambeau.gateway.graph.calls import Gateway

ANYWHERE = "0.0.0.0"  # noqa: S104 - in a pod of this platform FLAMBEAU_POD_IP narrows it
DEFAULT_PORT = "8080"


@dataclass(frozen=True, slots=True)
class Flags:
    """What the command line says."""

    graph_json: str
    gateway: str | None
    inside: str
    timeout: float
    call_timeout: float
    read_timeout: float
    idle_timeout: float


@dataclass(frozen=True, slots=True)
class RouterSettings:
    """How a graph's router runs."""

    graph_json: str
    """The InferenceGraph's spec, each step with a serviceUrl or a nodeName."""
    gateway: Gateway | None
    """Where names inside the cluster are asked; None: where they say."""
    inside: frozenset[str]
    """Hosts that are inside the cluster beside those that end in ``.svc.cluster.local`` or ``.svc``."""
    propagated: tuple[str, ...]
    """Patterns of header names that go along to every service."""
    seconds_max: float
    """For a request."""
    call_seconds_max: float
    """For one call of a service."""
    read_seconds_max: float
    """Between two pieces of a request."""
    idle_seconds_max: float
    """A client's connection without a request."""
    host: str
    """Where it listens."""
    port: int
    termination_log: Path | None
    """Where the sentence goes that says why it ended."""


def router_settings(flags: Flags, environment: Mapping[str, str]) -> RouterSettings:
    """Return the settings.

    Raises:
        InvalidInput: an address or a port is none.
    """
    termination_log = environment.get("FLAMBEAU_TERMINATION_LOG")
    return RouterSettings(
        graph_json=flags.graph_json,
        gateway=None if flags.gateway is None else _gateway(flags.gateway),
        inside=frozenset(_listed(flags.inside)),
        propagated=_listed(environment.get("PROPAGATE_HEADERS", "")),
        seconds_max=flags.timeout,
        call_seconds_max=flags.call_timeout,
        read_seconds_max=flags.read_timeout,
        idle_seconds_max=flags.idle_timeout,
        host=environment.get("FLAMBEAU_POD_IP", ANYWHERE),
        port=_address(f":{environment.get('PORT', DEFAULT_PORT)}")[1],
        termination_log=Path(termination_log) if termination_log else None,
    )


def _gateway(text: str) -> Gateway:
    scheme, separator, address = text.rpartition("://")
    if scheme not in (("http", "https") if separator else ("",)):
        raise InvalidInput(f'"{text}" is no address of a gateway', hint="as in http://127.0.0.1:8000")
    return Gateway(*_address(address), tls=scheme == "https")


def _address(text: str) -> tuple[str, int]:
    host, colon, port = text.rpartition(":")
    if not colon or not port.isdigit() or int(port) > 65535:
        raise InvalidInput(f'"{text}" is not HOST:PORT', hint="as in 127.0.0.1:8000")
    return host.strip("[]"), int(port)


def _listed(text: str) -> tuple[str, ...]:
    return tuple(stripped for each in text.split(",") if (stripped := each.strip()))
