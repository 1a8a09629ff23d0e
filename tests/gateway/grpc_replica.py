"""A real gRPC server that stands for a pod."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
from grpc import aio

from flambeau.gateway.document import Endpoint
from flambeau.serving.frontends.grpc_messages import message


class GrpcReplica(grpc.GenericRpcHandler):  # type: ignore[misc]  # grpc is untyped here
    """Serve any method; its name says how."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.cancelled = asyncio.Event()
        self.produced = 0
        self.factor = 2
        """What the model multiplies by."""
        self.is_stuck = False
        self.endpoint = Endpoint("127.0.0.1", 1, name)
        self._server = aio.server(options=[("grpc.max_receive_message_length", -1), ("grpc.so_reuseport", 0)])

    async def start(self, port: int = 0) -> GrpcReplica:
        self._server.add_generic_rpc_handlers((self,))
        port = self._server.add_insecure_port(f"127.0.0.1:{port}")
        await self._server.start()
        self.endpoint = Endpoint("127.0.0.1", 1, self.name, grpc_port=port)
        return self

    async def stop(self, grace: float | None = None) -> None:
        await self._server.stop(grace)

    def service(self, details: Any) -> Any:
        self.calls.append((details.method, dict(details.invocation_metadata)))
        method = details.method.rpartition("/")[2]
        if hasattr(self, f"_stream_{method}"):
            return grpc.stream_stream_rpc_method_handler(getattr(self, f"_stream_{method}"))
        return grpc.unary_unary_rpc_method_handler(getattr(self, f"_{method}"))

    async def _ModelInfer(self, request: bytes, context: Any) -> bytes:
        if self.is_stuck:
            return await self._hang(request, context)
        asked = message("inference.ModelInferRequest").FromString(request)
        answer = message("inference.ModelInferResponse")(model_name=self.name, id=f"{id(asked)}")
        answer.parameters["a"].bool_param = answer.parameters["b"].bool_param = True
        values = [self.factor * each for each in asked.inputs[0].contents.int64_contents]
        answer.outputs.add(name="o", datatype="INT64", shape=[len(values)]).contents.int64_contents.extend(values)
        return bytes(answer.SerializeToString())

    async def _ServerLive(self, request: bytes, context: Any) -> bytes:
        return b""

    async def _echo(self, request: bytes, context: Any) -> bytes:
        await context.send_initial_metadata((("x-from", self.name),))
        context.set_trailing_metadata((("x-trailer", "last"), ("x-data-bin", b"\x00\xff")))
        return request

    async def _fail(self, request: bytes, context: Any) -> bytes:
        await context.abort(grpc.StatusCode.NOT_FOUND, "no model ünknown")
        return b""

    async def _hang(self, request: bytes, context: Any) -> bytes:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            self.cancelled.set()
            raise
        return b""

    async def _stream_count(self, requests: AsyncIterator[bytes], context: Any) -> AsyncIterator[bytes]:
        async for request in requests:
            for number in range(int(request)):
                yield b"%d" % number

    async def _stream_mirror(self, requests: AsyncIterator[bytes], context: Any) -> AsyncIterator[bytes]:
        async for request in requests:
            yield self.name.encode() + request

    async def _stream_pour(self, requests: AsyncIterator[bytes], context: Any) -> AsyncIterator[bytes]:
        async for _ in requests:
            break
        for _ in range(200):
            yield b"x" * 1_000_000
            self.produced += 1

    async def _stream_deaf(self, requests: AsyncIterator[bytes], context: Any) -> AsyncIterator[bytes]:
        yield b"ready"
        await asyncio.sleep(60)
