"""A gRPC server in this process over a real repository, and calls as any client makes them; no generated code."""

from __future__ import annotations

import io
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from grpc import aio

from flambeau.serving.archive.source import ArchiveSource
from flambeau.serving.dataplane import DataPlane
from flambeau.serving.frontends.access_log import AccessLog
from flambeau.serving.frontends.grpc_frontend import GrpcFrontend
from flambeau.serving.frontends.grpc_messages import message, service
from flambeau.serving.frontends.grpc_server import Bounds, GrpcServer
from flambeau.serving.frontends.routes import Plane
from flambeau.serving.frontends.tokens import Tokens
from flambeau.serving.management import Management, Wish
from flambeau.serving.metrics.server import ServerMetrics
from flambeau.serving.model import ModelConfig
from flambeau.serving.repository import Origin, Registration, Repository
from flambeau.serving.workers.starter import FreshStarter
from tests.fixtures.waiting import until

REQUEST_BYTES_MAX = 200_000
RESPONSE_BYTES_MAX = 100_000

INFERENCE = "org.pytorch.serve.grpc.inference"

HANDLER = '''\
import base64, json, os, pathlib, time
from ts.handler_utils.utils import send_intermediate_predict_response

class Versatile:
    """Does what the field "order" says, or answers with what it got."""

    def initialize(self, context):
        pass

    def handle(self, data, context):
        return [self.one(row, index, context) for index, row in enumerate(data)]

    def one(self, row, index, context):
        if "datatype" in row:
            return self.tensor(row, context)
        order = json.loads(row["order"]) if "order" in row else {}
        if "headers" in order:
            return {name: context.get_request_header(index, name) for name in order["headers"]}
        if "touch" in order:
            pathlib.Path(order["touch"]).touch()
        if "wait_for" in order:
            while not pathlib.Path(order["wait_for"]).exists():
                time.sleep(0.005)
        for part in order.get("parts", []):
            send_intermediate_predict_response([part] * len(context.request_ids), context.request_ids, "ok", 200, context)
        for _ in range(order.get("flood", 0)):
            send_intermediate_predict_response(["x" * 90_000], context.request_ids, "ok", 200, context)
        if "fill" in order:
            return b"x" * order["fill"]
        if "raise" in order:
            raise ValueError(order["raise"])
        if "exit" in order:
            os._exit(order["exit"])
        if "answer" in order:
            return order["answer"]
        return {name: [type(value).__name__, base64.b64encode(value).decode()] for name, value in row.items()}

    def tensor(self, row, context):
        if row["name"] == "raise":
            raise ValueError("as told")
        if row["name"] == "scores":
            return {"cat": 0.5}
        return row["data"]
'''


@dataclass
class GrpcHouse:
    """One server with a channel to it."""

    channel: Any
    port: int
    dataplane: DataPlane
    repository: Repository
    server: GrpcServer
    metrics: ServerMetrics
    log: io.BytesIO

    async def call(self, path: str, request: Any = None, *, timeout: float | None = 30, metadata: Any = (), **fields: Any) -> Any:
        """Call ``package.Service/Method`` with a message, or with one made of fields."""
        name, _, method_name = path.partition("/")
        method = service(name).FindMethodByName(method_name)
        answer_class = message(method.output_type.full_name)
        kinds = {(False, False): "unary_unary", (False, True): "unary_stream", (True, True): "stream_stream"}
        make = getattr(self.channel, kinds[method.client_streaming, method.server_streaming])
        stub = make(f"/{path}", request_serializer=lambda sent: sent.SerializeToString(), response_deserializer=answer_class.FromString)
        if request is None:
            request = message(method.input_type.full_name)(**fields)
        called = stub(request, timeout=timeout, metadata=metadata)
        return [part async for part in called] if method.server_streaming else await called

    async def predict(self, model: str = "versatile", *, version: str = "", method: str = "Predictions", **more: Any) -> Any:
        """Call TorchServe's inference service; ``order`` is what the handler is told, ``input`` the row itself."""
        options = {name: more.pop(name) for name in ("timeout", "metadata") if name in more}
        row = {"order": json.dumps(more["order"]).encode()} if "order" in more else more["input"]
        fields: dict[str, Any] = {"model_name": model, "model_version": version, "input": row}
        return await self.call(f"{INFERENCE}.InferenceAPIsService/{method}", **fields, **options)


def registration(archive: Path, **config: Any) -> Registration:
    merged = ModelConfig(**{"min_workers": 1, "max_workers": 1, "response_bytes_max": RESPONSE_BYTES_MAX, **config})
    return Registration(archive, archive.name, lambda name, version, yaml: (merged, []))


def wished(wish: Wish, archive: Path) -> Registration:
    workers = wish.initial_workers or 0
    made = registration(archive, min_workers=workers, max_workers=workers, batch_size=wish.batch_size or 1)
    return replace(made, name=wish.name, handler=wish.handler, origin=Origin.REQUEST)


async def unheard() -> None:
    """No snapshots here."""


@asynccontextmanager
async def grpc_house(
    root: Path, registrations: list[Registration], *, tokens: Tokens | None = None, model_api: bool = True
) -> AsyncIterator[GrpcHouse]:
    """Serve archives that lie in the root, which is the model store."""
    repository = Repository(root / "unpacked", FreshStarter())
    dataplane, log = DataPlane(repository), io.BytesIO()
    metrics = ServerMetrics(lambda: [model.reading() for model in repository.models()])
    access_log = AccessLog(log, objects=log)
    management = Management(repository, ArchiveSource(root), wished, unregister_seconds=5.0, on_change=unheard)
    frontend = GrpcFrontend(
        dataplane,
        management,
        metrics,
        access_log=access_log,
        tokens=tokens,
        model_api=model_api,
        models=ModelConfig(response_bytes_max=RESPONSE_BYTES_MAX),
    )
    server = frontend.server(frozenset(Plane), Bounds(REQUEST_BYTES_MAX, RESPONSE_BYTES_MAX))
    try:
        for each in registrations:
            repository.register(each)
        [port] = await server.start("127.0.0.1", 0)
        await until(lambda: all(standing.ready or standing.failed for standing in dataplane.standings()), 60)
        async with aio.insecure_channel(f"127.0.0.1:{port}", options=[("grpc.max_receive_message_length", -1)]) as channel:
            yield GrpcHouse(channel, port, dataplane, repository, server, metrics, log)
    finally:
        await server.stop(1)
        access_log.flush()
        await repository.stop(1)
