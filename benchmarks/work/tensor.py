"""One 600 KB tensor (a normalised 224x224 picture, FP32) in every form in which a client may send it."""

from __future__ import annotations

import json

import numpy

NAME = "picture"
SHAPE = (1, 3, 224, 224)
BYTES = 602_112


def raw() -> bytes:
    """Return its bytes: 602,112."""
    pixels = numpy.random.default_rng(1).integers(0, 256, SHAPE) / 255
    return pixels.round(4).astype(numpy.float32).tobytes()


def as_json(body: bytes) -> bytes:
    """Return a V2 request with the numbers as text, about 1 MB."""
    numbers = [round(float(each), 4) for each in numpy.frombuffer(body, numpy.float32)]
    return json.dumps({"inputs": [_described() | {"data": numbers}]}, separators=(",", ":")).encode()


def as_binary(body: bytes) -> tuple[bytes, int]:
    """Return a V2 request with the tensor behind the JSON, wanting the same back; and how long the JSON is."""
    asked = {"inputs": [_described() | {"parameters": {"binary_data_size": len(body)}}], "parameters": {"binary_data_output": True}}
    text = json.dumps(asked).encode()
    return text + body, len(text)


def as_message(model: str, body: bytes, *, typed: bool = False) -> bytes:
    """Return a gRPC ModelInferRequest, serialised; typed: with the numbers in fp32_contents."""
    from flambeau.serving.frontends.grpc_messages import message  # noqa: PLC0415  # the peers' environments lack it

    made = message("inference.ModelInferRequest")(model_name=model, inputs=[_described()])
    if typed:
        made.inputs[0].contents.fp32_contents.extend(numpy.frombuffer(body, numpy.float32))
    else:
        made.raw_input_contents.append(body)
    return bytes(made.SerializeToString())


def _described() -> dict[str, object]:
    return {"name": NAME, "shape": list(SHAPE), "datatype": "FP32"}
