"""Where gRPC listens, and within which bounds."""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace

from flambeau.programs.settings.mounts import bind_host
from flambeau.programs.settings.sources import Value, Values

KSERVE_PORT = 8081
"""Where KServe expects a runtime's gRPC."""


@dataclass(frozen=True, slots=True)
class GrpcDoor:
    """One gRPC server: its port, and how long clients keep a connection."""

    host: str
    port: int
    is_asked_for: bool = True
    """Somebody has chosen the port: the server does not start without it. A default port that another program has is left to that."""
    extra_ports: tuple[int, ...] = ()
    """Of the same host; left where another program has them."""
    connection_age_ms: int | None = None
    connection_age_grace_ms: int | None = None

    @property
    def address(self) -> str:
        """Return host and port as logs have them."""
        return f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class GrpcSettings:
    """The gRPC doors. Equal addresses are one server."""

    inference: GrpcDoor | None = None
    """None: ``grpc_inference_port`` is empty."""
    management: GrpcDoor | None = None
    tls: bool = False
    """With the certificate of the HTTP doors."""


def grpc_settings(values: Values, pod_address: str | None, http_addresses: AbstractSet[tuple[str, int]]) -> GrpcSettings:
    """Return where gRPC listens.

    Args:
        values: every key.
        pod_address: this pod's address; None outside a pod.
        http_addresses: what the HTTP doors have; KServe's gRPC port is opened only where it is free.

    Raises:
        InvalidInput: a port or an age is no number.
    """
    inference = _door(values, "inference", pod_address)
    if inference is not None and pod_address and inference.port != KSERVE_PORT and (pod_address, KSERVE_PORT) not in http_addresses:
        inference = replace(inference, extra_ports=(KSERVE_PORT,))
    return GrpcSettings(inference, _door(values, "management", pod_address), values["enable_grpc_ssl"].boolean())


def _door(values: Values, plane: str, pod_address: str | None) -> GrpcDoor | None:
    port = values[f"grpc_{plane}_port"]
    if not port.text.strip():
        return None
    return GrpcDoor(
        host=bind_host(values[f"grpc_{plane}_address"].text.strip() or "127.0.0.1", pod_address),
        port=port.integer(),
        is_asked_for=port.source != "default",
        connection_age_ms=_age(values[f"grpc_{plane}_max_connection_age_ms"]),
        connection_age_grace_ms=_age(values[f"grpc_{plane}_max_connection_age_grace_ms"]),
    )


def _age(value: Value) -> int | None:
    """Return milliseconds; None where the key is empty, which is for ever."""
    return value.integer(least=1) if value.text.strip() else None
