"""Runs in the kserve SDK's environment: deploys a model and asks it, through a whole platform, as its users do.

Arguments: a kubeconfig, the gateway's HOST:PORT, a folder with a model named ``data``.
"""

import asyncio
import contextlib
import io
import sys
from typing import Any
from urllib.parse import urlparse

import httpx  # type: ignore[import-not-found]  # the SDK brings it
import numpy
from kserve import (
    InferenceGRPCClient,
    InferenceRESTClient,
    InferInput,
    InferRequest,
    KServeClient,
    RESTConfig,
    V1beta1InferenceService,
    V1beta1InferenceServiceSpec,
    V1beta1ModelFormat,
    V1beta1ModelSpec,
    V1beta1PredictorSpec,
)
from kubernetes import client

KUBECONFIG, GATEWAY, FOLDER = sys.argv[1:]
BASE = f"http://{GATEWAY}"
FLOATS = numpy.arange(6, dtype="float32").reshape(2, 3)


def deploy(kserve: KServeClient) -> str:
    """Create the service and wait for it; return its host."""
    model = V1beta1ModelSpec(model_format=V1beta1ModelFormat(name="pytorch"), storage_uri=f"file://{FOLDER}")
    kserve.create(
        V1beta1InferenceService(
            api_version="serving.kserve.io/v1beta1",
            kind="InferenceService",
            metadata=client.V1ObjectMeta(name="asked", namespace="default"),
            spec=V1beta1InferenceServiceSpec(predictor=V1beta1PredictorSpec(model=model)),
        ),
        namespace="default",
    )
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        kserve.get("asked", namespace="default", watch=True, timeout_seconds=90)  # prints until Ready
    assert "NAME" in printed.getvalue(), printed.getvalue()
    kserve.wait_isvc_ready("asked", namespace="default", timeout_seconds=90, polling_interval=1)
    for protocol in ("v1", "v2"):
        kserve.wait_model_ready("asked", "data", "default", cluster_ip=GATEWAY, protocol_version=protocol, polling_interval=1)
    url = str(kserve.get("asked", namespace="default")["status"]["url"])
    return urlparse(url).netloc


def request(*, binary: bool) -> InferRequest:
    tensor = InferInput(name="x", shape=list(FLOATS.shape), datatype="FP32")
    tensor.set_data_from_numpy(FLOATS, binary_data=binary)
    return InferRequest(model_name="data", infer_inputs=[tensor], request_id="mine")


async def ask_rest(host: str) -> None:
    headers = {"Host": host}
    async with InferenceRESTClient(RESTConfig(protocol="v2", retries=3, timeout=30)) as v2:
        assert await v2.is_server_live(BASE, headers=headers)
        assert await v2.is_server_ready(BASE, headers=headers)
        assert await v2.is_model_ready(BASE, "data", headers=headers)
        for binary in (False, True):
            response = await v2.infer(BASE, request(binary=binary), model_name="data", headers=headers)
            numpy.testing.assert_array_equal(response.outputs[0].as_numpy(), FLOATS)
        await refused(v2.infer(BASE, request(binary=False), model_name="nobody", headers=headers), "Model not found: nobody")
        await refused(v2.infer(BASE, request(binary=False), model_name="data", headers={"Host": "nowhere.test"}), "nowhere.test")
    async with InferenceRESTClient(RESTConfig(protocol="v1", timeout=30)) as v1:
        assert await v1.is_model_ready(BASE, "data", headers=headers)
        instances = {"instances": [{"data": 1}, {"data": [2]}]}
        assert await v1.infer(BASE, instances, model_name="data", headers=headers) == {"predictions": [1, [2]]}
        assert await v1.explain(BASE, "data", instances, headers=headers) == {"explanations": ["explained", "explained"]}
        await refused(v1.infer(BASE, {"inputs": 5}, model_name="data", headers=headers), "instances")


async def refused(asking: Any, word: str) -> None:
    refusal = ""
    try:
        await asking
    except httpx.HTTPStatusError as error:
        refusal = str(error)
    assert word in refusal, refusal


async def ask_grpc(host: str) -> None:
    rpc = InferenceGRPCClient(GATEWAY, channel_args=[("grpc.default_authority", host)], timeout=30)
    assert await rpc.is_server_live()
    assert await rpc.is_server_ready()
    assert await rpc.is_model_ready("data")
    for binary in (False, True):
        response = await rpc.infer(request(binary=binary))
        numpy.testing.assert_array_equal(response.outputs[0].as_numpy(), FLOATS)
    await rpc.close()


kserve = KServeClient(config_file=KUBECONFIG)
host = deploy(kserve)
asyncio.run(ask_rest(host))
asyncio.run(ask_grpc(host))
kserve.delete("asked", namespace="default")
print("kserve is content")
