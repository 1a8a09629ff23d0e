"""The gRPC doors of a model server: opened after HTTP's, and not loaded where nobody asks for them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

from flambeau.foundation.errors import InvalidInput, Unavailable
from flambeau.programs.settings.access import TlsFiles
from flambeau.programs.settings.grpc import GrpcDoor, GrpcSettings
from flambeau.programs.tls import pem_of
from flambeau.serving.frontends.routes import Plane

if TYPE_CHECKING:
    from flambeau.serving.frontends.grpc_frontend import GrpcFrontend
    from flambeau.serving.frontends.grpc_server import Certificate, GrpcServer

_log = logging.getLogger(__name__)


class GrpcDoors:
    """Open, drain and close the gRPC doors.

    Args:
        settings: which there are.
        tls: the certificate's files; None where there is none.
        frontend: makes what serves them, in another thread; it imports grpc.
        request_bytes_max: of one message.
        response_bytes_max: of one answer.
    """

    def __init__(
        self,
        settings: GrpcSettings,
        tls: TlsFiles | None,
        frontend: Callable[[], GrpcFrontend],
        *,
        request_bytes_max: int,
        response_bytes_max: int,
    ) -> None:
        self._settings = settings
        self._tls = tls
        self._make_frontend = frontend
        self._request_bytes_max = request_bytes_max
        self._response_bytes_max = response_bytes_max
        self._servers: list[GrpcServer] = []

    async def open(self) -> None:
        """Open every door; a default port that another program has is told and left out.

        Raises:
            Unavailable: a port that somebody chose cannot be bound.
            InvalidInput: the certificate is missing or cannot be read.
        """
        doors = doors_of(self._settings)
        if not doors:
            return
        # Imports of a tenth of a second, which no HTTP request has to wait for.
        frontend, certificate = await asyncio.to_thread(self._prepare)
        for door, planes in doors:
            await self._open(frontend, door, planes, certificate)

    async def drain(self, seconds: float) -> None:
        """Take no new calls and let the running ones end within a time; then they are cut. May be called again."""
        await asyncio.gather(*(server.stop(seconds) for server in self._servers))

    def _prepare(self) -> tuple[GrpcFrontend, Certificate | None]:
        from flambeau.serving.frontends.grpc_server import Certificate  # noqa: PLC0415 - it imports grpc

        certificate = None
        if self._settings.tls:
            if self._tls is None:
                raise InvalidInput(
                    "cannot serve gRPC with TLS: there is no certificate",
                    hint="set certificate_file and private_key_file, or keystore",
                    reason="InvalidConfiguration",
                )
            certificate = Certificate(*pem_of(self._tls))
        return self._make_frontend(), certificate

    async def _open(self, frontend: GrpcFrontend, door: GrpcDoor, planes: frozenset[Plane], certificate: Certificate | None) -> None:
        from flambeau.serving.frontends.grpc_server import Bounds  # noqa: PLC0415 - loaded already

        bounds = Bounds(self._request_bytes_max, self._response_bytes_max, door.connection_age_ms, door.connection_age_grace_ms)
        server = frontend.server(planes, bounds, certificate)
        serves = ",".join(sorted(plane.name.lower() for plane in planes))
        try:
            ports = await server.start(door.host, door.port, door.extra_ports)
        except Unavailable as error:
            if door.is_asked_for:
                raise
            _log.warning("gRPC for %s is off: %s", serves, error)
            return
        self._servers.append(server)
        for port in ports:
            _log.info("gRPC open", extra={"fields": {"address": f"{door.host}:{port}", "serves": serves, "tls": self._settings.tls}})


def doors_of(settings: GrpcSettings) -> list[tuple[GrpcDoor, frozenset[Plane]]]:
    """Return each door with its planes; equal addresses are one door."""
    inference, management = settings.inference, settings.management
    if inference is not None and management is not None and inference.port and inference.address == management.address:
        return [(inference, frozenset({Plane.INFERENCE, Plane.MANAGEMENT}))]
    wanted = ((inference, Plane.INFERENCE), (management, Plane.MANAGEMENT))
    return [(door, frozenset({plane})) for door, plane in wanted if door is not None]
