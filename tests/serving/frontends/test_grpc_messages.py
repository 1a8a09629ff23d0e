from __future__ import annotations

import subprocess
import sys

import pytest
from google.protobuf.message import DecodeError

from flambeau.serving.frontends.grpc_messages import message, read_apart, wire_form
from tools.compile_protos import PROTOS, SHIPPED, compiled


def test_the_shipped_descriptors_are_what_the_protos_compile_to() -> None:
    assert SHIPPED.read_bytes() == compiled(), "run make protos"


def test_both_open_inference_protos_say_the_same() -> None:
    ours, theirs = (PROTOS / name for name in ("open_inference.proto", "torchserve_open_inference.proto"))
    assert ours.read_text().partition("service")[2] == theirs.read_text().partition("service")[2]


@pytest.mark.parametrize("sizes", [[], [0], [1, 0], [127, 128, 300], [70_000, 2_100_000]])
def test_contents_that_are_added_as_bytes_read_as_if_protobuf_had_written_them(sizes: list[int]) -> None:
    contents = [bytes([number]) * size for number, size in enumerate(sizes)]
    type_ = message("inference.ModelInferResponse")
    expected = type_(model_name="m", id="1", raw_output_contents=contents)
    wire = wire_form(type_(model_name="m", id="1"), "raw_output_contents", map(memoryview, contents))
    assert type_.FromString(wire) == expected


@pytest.mark.parametrize("sizes", [[], [0], [1, 0], [127, 128, 300], [70_000, 2_100_000], [1] * 300])
def test_contents_that_are_read_apart_are_those_that_protobuf_reads(sizes: list[int]) -> None:
    contents = [bytes([number % 256]) * size for number, size in enumerate(sizes)]
    type_ = message("inference.ModelInferRequest")
    described = {"name": "x", "datatype": "UINT8", "shape": [1]}
    rest = type_(model_name="m", id="1", inputs=[described] * 2, parameters={"a": {"int64_param": 7}})
    sent = type_(raw_input_contents=contents)
    sent.MergeFrom(rest)
    assert read_apart(type_, "raw_input_contents", sent.SerializeToString()) == (rest, contents)


@pytest.mark.parametrize("wire", [b"\x3a\x05abc", b"\x3a", b"\xff" * 12, b"\x3b", b"\x00"])
def test_what_is_malformed_is_protobufs_to_refuse(wire: bytes) -> None:
    with pytest.raises(DecodeError):
        read_apart(message("inference.ModelInferRequest"), "raw_input_contents", wire)


def test_protobufs_default_pool_stays_untouched() -> None:
    code = """
from flambeau.serving.frontends import grpc_messages
grpc_messages.message("inference.ModelInferRequest")()
from google.protobuf import descriptor_pb2, descriptor_pool
pool = descriptor_pool.Default()
ours = "inference.ModelInferRequest", "org.pytorch.serve.grpc.inference.PredictionsRequest", "google.rpc.Status"
for name in ours:
    try:
        pool.FindMessageTypeByName(name)
    except KeyError:
        continue
    raise SystemExit(name)
# As a client library's generated code does it.
file = descriptor_pb2.FileDescriptorProto(name="grpc_service.proto", package="inference", syntax="proto3")
file.message_type.add(name="ModelInferRequest")
pool.AddSerializedFile(file.SerializeToString())
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
