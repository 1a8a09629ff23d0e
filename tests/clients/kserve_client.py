"""Runs in the kserve SDK's environment: asks our server as its users do. Arguments: HTTP address, gRPC address, our source folder.

Our messages are loaded first, into the same process: a handler may import kserve beside us.
"""

import asyncio
import sys

HTTP, GRPC, SOURCE = sys.argv[1:]
sys.path.insert(0, SOURCE)

from flambeau.serving.frontends import grpc_messages  # noqa: E402

grpc_messages.message("inference.ModelInferRequest")()

import numpy  # noqa: E402
from kserve import InferenceGRPCClient, InferenceRESTClient, InferInput, InferRequest, RESTConfig  # noqa: E402

FLOATS = numpy.arange(6, dtype="float32").reshape(2, 3)
BASE = f"http://{HTTP}"


def request(*, binary: bool) -> InferRequest:
    tensor = InferInput(name="x", shape=list(FLOATS.shape), datatype="FP32")
    tensor.set_data_from_numpy(FLOATS, binary_data=binary)
    return InferRequest(model_name="data", infer_inputs=[tensor], request_id="mine")


async def main() -> None:
    v2 = InferenceRESTClient(RESTConfig(protocol="v2", retries=1, timeout=30))
    assert await v2.is_server_live(BASE)
    assert await v2.is_server_ready(BASE)
    assert await v2.is_model_ready(BASE, "data")
    for binary in (False, True):
        response = await v2.infer(BASE, request(binary=binary), model_name="data")
        numpy.testing.assert_array_equal(response.outputs[0].as_numpy(), FLOATS)
        assert response.id == "mine"
    v1 = InferenceRESTClient(RESTConfig(protocol="v1", retries=1, timeout=30))
    assert await v1.infer(BASE, {"instances": [{"data": 1}]}, model_name="data") == {"predictions": [1]}
    rpc = InferenceGRPCClient(GRPC, timeout=30)
    assert await rpc.is_server_live()
    assert await rpc.is_server_ready()
    assert await rpc.is_model_ready("data")
    for binary in (False, True):
        response = await rpc.infer(request(binary=binary))
        numpy.testing.assert_array_equal(response.outputs[0].as_numpy(), FLOATS)
    await v2.close()
    await v1.close()
    await rpc.close()


asyncio.run(main())
print("kserve is content")
