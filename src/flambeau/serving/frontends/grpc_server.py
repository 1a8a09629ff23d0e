"""One gRPC server: its handlers, its bounds, its ports."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import grpc
from grpc import aio

from flambeau.foundation.errors import Unavailable

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

    key: bytes = field(repr=False)
    chain: bytes


class GrpcServer:
    """Listen and serve.

    Args:
        handlers: of its services.
        bounds: of messages and connections.
        certificate: None: plain text.
    """

    def __init__(self, handlers: Sequence[grpc.GenericRpcHandler], bounds: Bounds, certificate: Certificate | None = None) -> None:
        self._handlers = handlers
        self._credentials = None
        if certificate is not None:
            self._credentials = grpc.ssl_server_credentials([(certificate.key, certificate.chain)])
        self._bounds = bounds
        self._server: aio.Server | None = None

    async def start(self, host: str, port: int, extra_ports: Sequence[int] = ()) -> list[int]:
        """Listen.

        Args:
            host: the address.
            port: 0: the kernel chooses.
            extra_ports: left out where another program has them.

        Returns:
            The ports that it listens on.

        Raises:
            Unavailable: the port cannot be bound.
        """
        server = aio.server(options=self._bounds.options(), maximum_concurrent_rpcs=CALLS_MAX)
        server.add_generic_rpc_handlers(tuple(self._handlers))
        try:
            ports = [self._bind(server, host, port)]
        except Unavailable:
            await server.stop(None)
            raise
        for extra in extra_ports:
            try:
                ports.append(self._bind(server, host, extra))
            except Unavailable:
                continue
        await server.start()
        self._server = server
        return ports

    def _bind(self, server: aio.Server, host: str, port: int) -> int:
        address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        try:
            if self._credentials is not None:
                return int(server.add_secure_port(address, self._credentials))
            return int(server.add_insecure_port(address))
        except RuntimeError as error:
            why = "it is in use, or not of this machine"
            raise Unavailable(f"cannot listen on {address} for gRPC: {why}", hint="choose another port", reason="PortInUse") from error

    async def stop(self, grace_seconds: float) -> None:
        """Take no new calls, let the running ones end within a time, then cut them. Calling it again only shortens the time."""
        if self._server is not None:
            await self._server.stop(grace_seconds)
