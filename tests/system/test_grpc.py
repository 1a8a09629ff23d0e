"""V2 over gRPC to the example's model, through the gateway's one port, beside HTTP."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any

import grpc
import pytest

from flambeau.serving.frontends.grpc_messages import message
from tests.system.deploy import Model
from tests.system.harness import Platform, host_of

HOST = host_of("mnist-torchserve")


def open_channel(platform: Platform, authority: str) -> Any:
    return grpc.insecure_channel(f"127.0.0.1:{platform.gateway_port}", options=[("grpc.default_authority", authority)])


def call(channel: Any, method: str, request: Any) -> Any:
    answer = message(f"inference.{method}Response")
    return channel.unary_unary(
        f"/inference.GRPCInferenceService/{method}",
        request_serializer=lambda sent: sent.SerializeToString(),
        response_deserializer=answer.FromString,
    )(request, timeout=60)


@pytest.fixture
def channel(ready: Platform) -> Iterator[Any]:
    with open_channel(ready, HOST) as opened:
        yield opened


def test_infer_by_authority_beside_http(ready: Platform, channel: Any, model: Model) -> None:
    assert call(channel, "ServerReady", message("inference.ServerReadyRequest")()).ready
    picture = base64.b64decode(model.request["instances"][0]["data"])
    request = message("inference.ModelInferRequest")(model_name="mnist", id="7")
    tensor = request.inputs.add(name="data", datatype="BYTES", shape=[1])
    tensor.contents.bytes_contents.append(picture)
    answer = call(channel, "ModelInfer", request)
    assert (answer.model_name, answer.id, len(answer.outputs)) == ("mnist", "7", 1)
    assert [*answer.outputs[0].contents.int64_contents] == [0], answer
    said = ready.post("/v1/models/mnist:predict", model.request, host=HOST)
    assert (said.status_code, said.text) == (200, '{"predictions":[0]}')


def test_an_unknown_authority_is_unimplemented(ready: Platform) -> None:
    with open_channel(ready, "nobody.example.com") as channel, pytest.raises(grpc.RpcError) as raised:
        call(channel, "ServerLive", message("inference.ServerLiveRequest")())
    assert raised.value.code() is grpc.StatusCode.UNIMPLEMENTED
    assert HOST in raised.value.details()
