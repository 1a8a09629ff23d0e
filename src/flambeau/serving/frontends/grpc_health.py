"""The standard health service: what Kubernetes' gRPC probes and clients' load balancers ask."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from flambeau.foundation.errors import NotFound
from flambeau.serving.dataplane import DataPlane
from flambeau.serving.frontends.grpc_messages import message
from flambeau.serving.frontends.grpc_service import Call, Service

WATCH_SECONDS = 1.0
"""Whoever watches hears of a change so late; nothing runs while nobody watches."""
NAME_CHARS_TOLD_MAX = 128
"""Of a client's own words in an error text."""

_SERVING, _NOT_SERVING, _UNKNOWN = 1, 2, 3


class HealthService:
    """Tell how the server or one of its services stands.

    Args:
        dataplane: knows.
        services: full names of what the server serves; each stands as the server does.
    """

    def __init__(self, dataplane: DataPlane, services: frozenset[str]) -> None:
        self._dataplane = dataplane
        self._services = services
        self._response = message("grpc.health.v1.HealthCheckResponse")

    def service(self) -> Service:
        """Return the service's methods; as HTTP's health pages they need no key."""
        return Service(("grpc.health.v1.Health",), {"Check": self._check, "Watch": self._watch})

    async def _check(self, request: Any, call: Call) -> Any:
        return self._response(status=self._status(request.service))

    async def _watch(self, request: Any, call: Call) -> AsyncIterator[Any]:
        told = None
        while True:
            try:
                status = self._status(request.service)
            except NotFound:
                status = _UNKNOWN
            if status != told:
                told = status
                yield self._response(status=status)
            await asyncio.sleep(WATCH_SECONDS)

    def _status(self, name: str) -> int:
        if name and name not in self._services:
            raise NotFound(
                f"there is no service {name[:NAME_CHARS_TOLD_MAX]}", hint="reflection lists the services; ModelReady tells of models"
            )
        return _SERVING if self._dataplane.readiness().ready else _NOT_SERVING
