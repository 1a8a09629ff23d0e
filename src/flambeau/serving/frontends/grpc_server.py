"""The gRPC doors: one server per plane, its services, its bounds, its ports.

Loaded only where a gRPC door is asked for, and after the HTTP doors are open: grpc and protobuf cost 15 MB and a tenth of a second.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import grpc
from grpc import aio

from flambeau.foundation.errors import Unavailable
from flambeau.serving.frontends.grpc_asked import Models
from flambeau.serving.frontends.grpc_health import HealthService
from flambeau.serving.frontends.grpc_reflection import ReflectionService
from flambeau.serving.frontends.grpc_service import Service, Wrapper

CALLS_MAX = 4_096
"""Calls at once, of all connections; more are refused with RESOURCE_EXHAUSTED."""
STREAMS_PER_CONNECTION_MAX = 1_024
METADATA_BYTES_MAX = 16_384
"""Of one call's headers."""
MESSAGE_OVERHEAD_BYTES = 65_536
"""An answer's bound is about what the model says; names, shapes and framing come on top."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """What comes in and goes out. Units: bytes, milliseconds."""

    request_bytes_max: int
    response_bytes_max: int
    connection_age_ms: int | None = None
    """After it, a client is asked to connect anew; None: never."""
    connection_age_grace_ms: int | None = None
    """What its running calls may take then; None: all the time."""

    def options(self) -> list[tuple[str, int]]:
        """Return grpc's words for them."""
        options = [
            ("grpc.so_reuseport", 0),  # two servers on one port would share its clients; the second must fail
            ("grpc.max_receive_message_length", self.request_bytes_max),
            ("grpc.max_send_message_length", self.response_bytes_max + MESSAGE_OVERHEAD_BYTES),
            ("grpc.max_concurrent_streams", STREAMS_PER_CONNECTION_MAX),
            ("grpc.max_metadata_size", METADATA_BYTES_MAX),
        ]
        if self.connection_age_ms is not None:
            options.append(("grpc.max_connection_age_ms", self.connection_age_ms))
        if self.connection_age_grace_ms is not None:
            options.append(("grpc.max_connection_age_grace_ms", self.connection_age_grace_ms))
        return options


@dataclass(frozen=True, slots=True)
class Certificate:
    """A server's key and certificate chain, both PEM."""

    key: bytes
    chain: bytes


class GrpcServer:
    """One gRPC server: its services on one or more ports.

    Args:
        services: what it serves; health and reflection come with them.
        models: whose health is told.
        wrapper: makes their handlers.
        bounds: of messages and connections.
        certificate: None: plain text.
    """

    def __init__(
        self, services: Sequence[Service], models: Models, wrapper: Wrapper, bounds: Bounds, certificate: Certificate | None = None
    ) -> None:
        health = HealthService(models.dataplane, frozenset(name for service in services for name in service.names)).service()
        reflection = ReflectionService(name for service in (*services, health) for name in service.names)
        self._handlers = [made for service in (*services, health, *reflection.services()) for made in wrapper.handlers(service)]
        self._credentials = None
        if certificate is not None:
            self._credentials = grpc.ssl_server_credentials([(certificate.key, certificate.chain)])
        self._bounds = bounds
        self._server: aio.Server | None = None

    async def start(self, addresses: Sequence[tuple[str, int]]) -> list[int]:
        """Listen on addresses; return their ports, those chosen by the kernel for 0.

        Raises:
            Unavailable: one cannot be bound; none is.
        """
        server = aio.server(options=self._bounds.options(), maximum_concurrent_rpcs=CALLS_MAX)
        server.add_generic_rpc_handlers(tuple(self._handlers))
        ports = []
        for host, port in addresses:
            address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
            try:
                if self._credentials is not None:
                    ports.append(server.add_secure_port(address, self._credentials))
                else:
                    ports.append(server.add_insecure_port(address))
            except RuntimeError as error:
                await server.stop(None)
                raise Unavailable(
                    f"cannot listen on {address} for gRPC: it is in use or not of this machine", hint="choose another port for gRPC"
                ) from error
        await server.start()
        self._server = server
        return ports

    async def stop(self, grace_seconds: float) -> None:
        """Take no new calls, let the running ones end within a time, then cut them. Calling it again only shortens the time."""
        if self._server is not None:
            await self._server.stop(grace_seconds)
