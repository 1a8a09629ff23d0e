"""Runs in tritonclient's environment: asks our server as its users do.

Arguments: HTTP address, gRPC address, our source folder, and through a gateway the service's host.

Our messages are loaded first, into the same process: a handler may import tritonclient beside us.
"""

import queue
import sys
from typing import Any

HTTP, GRPC, SOURCE, *HOST = sys.argv[1:]
sys.path.insert(0, SOURCE)

from flambeau.serving.frontends import grpc_messages  # noqa: E402

grpc_messages.message("inference.ModelInferRequest")()

import numpy  # noqa: E402
import tritonclient.grpc as triton_grpc  # noqa: E402
import tritonclient.http as triton_http  # noqa: E402
from tritonclient.utils import InferenceServerException  # noqa: E402

ARRAYS = {
    "FP32": numpy.arange(6, dtype="float32").reshape(2, 3),
    "FP16": numpy.arange(6, dtype="float16").reshape(3, 2),
    "INT64": numpy.array([-(1 << 63), 5], "int64"),
    "UINT8": numpy.array([0, 255], "uint8"),
    "BOOL": numpy.array([True, False]),
    "BYTES": numpy.array([b"\x00\xff", b"text", b""], dtype=object),
}


def with_host() -> dict[str, Any]:
    """Return how the HTTP client names the service; anew each time, for it leaves headers of its own in there."""
    return {"headers": {"Host": HOST[0]}} if HOST else {}


CHANNEL: dict[str, Any] = {"channel_args": [("grpc.default_authority", HOST[0])]} if HOST else {}


def check(library: Any, client: Any, **options: Any) -> None:
    assert client.is_server_live(**options)
    assert client.is_server_ready(**options)
    assert client.is_model_ready("data", **options)
    client.get_server_metadata(**options)
    client.get_model_metadata("data", **options)
    inputs = []
    for datatype, array in ARRAYS.items():
        tensor = library.InferInput(datatype.lower(), list(array.shape), datatype)
        tensor.set_data_from_numpy(array)
        inputs.append(tensor)
    result = client.infer("data", inputs, request_id="mine", **options)
    for datatype, array in ARRAYS.items():
        numpy.testing.assert_array_equal(result.as_numpy(datatype.lower()), array)
    one = client.infer("data", inputs[:1], outputs=[library.InferRequestedOutput("label")], **options)
    numpy.testing.assert_array_equal(one.as_numpy("label"), ARRAYS["FP32"])
    refused("Model not found: nobody", client.infer, "nobody", inputs[:1], **options)
    client.get_model_repository_index(**options)
    for method in (client.get_inference_statistics, client.get_trace_settings):
        refused("not found", method, **options)  # Triton's own extensions
    refused("not found", client.get_model_config, "data", **options)
    for method in (client.load_model, client.unload_model):
        refused("not", method, "data", **options)  # for the management alone
    client.close()


def refused(words: str, method: Any, *arguments: Any, **options: Any) -> None:
    refusal = ""
    try:
        method(*arguments, **options)
    except InferenceServerException as error:
        refusal = str(error)
    assert words in refusal, f"{method}: {refusal}"


check(triton_http, triton_http.InferenceServerClient(HTTP), **with_host())
check(triton_grpc, triton_grpc.InferenceServerClient(GRPC, **CHANNEL), client_timeout=30)

# As JSON, which REST clients without the extension send.
client = triton_http.InferenceServerClient(HTTP)
plain = triton_http.InferInput("x", [2], "FP32")
plain.set_data_from_numpy(numpy.array([1, 2], "float32"), binary_data=False)
result = client.infer("data", [plain], outputs=[triton_http.InferRequestedOutput("x", binary_data=False)], **with_host())
for coding in ("gzip", "deflate"):
    packed = client.infer("data", [plain], request_compression_algorithm=coding, **with_host())
    numpy.testing.assert_array_equal(packed.as_numpy("x"), result.as_numpy("x"))
assert result.as_numpy("x").tolist() == [1.0, 2.0]
client.close()

client = triton_grpc.InferenceServerClient(GRPC, **CHANNEL)
number = triton_grpc.InferInput("x", [1], "INT8")
number.set_data_from_numpy(numpy.array([7], "int8"))
answers: queue.Queue[Any] = queue.Queue()
for _ in range(8):
    client.async_infer("data", [number], callback=lambda result, error: answers.put((result, error)), client_timeout=30)
for _ in range(8):
    result, error = answers.get(timeout=30)
    assert error is None, error
    assert result.as_numpy("x").tolist() == [7]
client.close()
print("tritonclient is content")
