"""V2 over gRPC to the example's model, through the gateway's one port, beside HTTP."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from flambeau.serving.frontends.grpc_messages import message
from tests.system.deploy import Model
from tests.system.harness import Platform, host_of, until

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


def test_calls_are_kept_as_files(ready: Platform, model: Model, tmp_path: Path) -> None:
    storage = {"path": "calls", "key": "none", "parameters": {"format": "json"}}
    patch = {"spec": {"predictor": {"logger": {"url": f"file://{tmp_path}", "mode": "all", "storage": storage}}}}
    ready.kubectl("patch", "isvc", "mnist-torchserve", "-n", "torchserve", "--type=merge", "-p", json.dumps(patch))
    request = message("inference.ModelInferRequest")(model_name="mnist", id="7")
    request.inputs.add(name="data", datatype="BYTES", shape=[1]).contents.bytes_contents.append(
        base64.b64decode(model.request["instances"][0]["data"])
    )
    folder = tmp_path / "torchserve" / "mnist-torchserve" / "predictor" / "calls"

    def kept() -> list[Path]:
        with open_channel(ready, HOST) as channel:
            assert [*call(channel, "ModelInfer", request).outputs[0].contents.int64_contents] == [0]
        pairs = [(each, each.with_name(each.name.replace("response", "request"))) for each in folder.glob("*-response.json")]
        return next(([asked, answered] for answered, asked in pairs if asked.exists()), [])

    records = [json.loads(each.read_bytes()) for each in until(kept, seconds=90, what="files of a call")]
    assert {record["ContentType"] for record in records} == {"application/protobuf"}
    assert records[0]["Metadata"] == {":path": ["/inference.GRPCInferenceService/ModelInfer"]}
    contents = [base64.b64decode(record["Bytes"]) for record in records]
    assert message("inference.ModelInferRequest").FromString(contents[0]) == request
    assert message("inference.ModelInferResponse").FromString(contents[1]).id == "7"
