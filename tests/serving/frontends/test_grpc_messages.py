from __future__ import annotations

import subprocess
import sys

from tools.compile_protos import PROTOS, SHIPPED, compiled


def test_the_shipped_descriptors_are_what_the_protos_compile_to() -> None:
    assert SHIPPED.read_bytes() == compiled(), "run make protos"


def test_both_open_inference_protos_say_the_same() -> None:
    ours, theirs = (PROTOS / name for name in ("open_inference.proto", "torchserve_open_inference.proto"))
    assert ours.read_text().partition("service")[2] == theirs.read_text().partition("service")[2]


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
