"""The real gRPC client in front of the gateway, and real servers behind it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from grpc import aio

from tests.gateway.grpc_replica import GrpcReplica

if TYPE_CHECKING:
    from tests.gateway.conftest import World  # which makes callers

SECONDS_MAX = 30.0


class Caller:
    """Channels to the gateway by authority, and servers behind it."""

    def __init__(self, world: World) -> None:
        self.world = world
        self._channels: dict[str, aio.Channel] = {}
        self._replicas: list[GrpcReplica] = []

    async def replica(self, name: str = "torchserve/pod-a") -> GrpcReplica:
        replica = await GrpcReplica(name).start()
        self._replicas.append(replica)
        return replica

    def channel(self, host: str = "m") -> aio.Channel:
        if host not in self._channels:
            options = [("grpc.default_authority", host), ("grpc.max_receive_message_length", -1)]
            self._channels[host] = aio.insecure_channel(f"127.0.0.1:{self.world.port}", options=options)
        return self._channels[host]

    def unary(self, method: str, request: bytes = b"", *, host: str = "m", timeout: float = SECONDS_MAX, **more: Any) -> Any:
        """Make a call; ``method`` is of the test's service, or a whole path."""
        path = method if method.startswith("/") else f"/test.Service/{method}"
        return self.channel(host).unary_unary(path)(request, timeout=timeout, **more)

    def stream(self, method: str, requests: Any = None, *, timeout: float = SECONDS_MAX) -> Any:
        return self.channel().stream_stream(f"/test.Service/{method}")(requests, timeout=timeout)

    async def close(self) -> None:
        for channel in self._channels.values():
            await channel.close()
        for replica in self._replicas:
            await replica.stop()
