"""Call the gRPC services without generated code: the messages are written down here, so that a wrong number on our side shows.

Descriptors live in a pool of their own. Answers are plain JSON; bytes are text where they are UTF-8.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

import grpc
from google.protobuf import any_pb2, descriptor_pb2, descriptor_pool, empty_pb2, message_factory

if TYPE_CHECKING:
    from tests.conformance.servers import Server

_SERVICES = {
    "inference": ("org.pytorch.serve.grpc.inference", "InferenceAPIsService", "grpc_inference_port"),
    "management": ("org.pytorch.serve.grpc.management", "ManagementAPIsService", "grpc_management_port"),
    "oip": ("org.pytorch.serve.grpc.openinference", "GRPCInferenceService", "grpc_inference_port"),
}
_METHODS = {
    "Ping": ("google.protobuf.Empty", "TorchServeHealthResponse"),
    "Predictions": ("PredictionsRequest", "PredictionResponse"),
    "StreamPredictions": ("PredictionsRequest", "PredictionResponse"),
    "StreamPredictions2": ("PredictionsRequest", "PredictionResponse"),
    **{
        f"{name}": (f"{name}Request", "ManagementResponse")
        for name in ("DescribeModel", "ListModels", "RegisterModel", "ScaleWorker", "SetDefault", "UnregisterModel")
    },
    **{
        name: (f"{name}Request", f"{name}Response")
        for name in ("ServerLive", "ServerReady", "ModelReady", "ServerMetadata", "ModelMetadata", "ModelInfer")
    },
}

_MESSAGES = {
    "org.pytorch.serve.grpc.inference": """
        PredictionsRequest: string model_name=1; string model_version=2; map<string,bytes> input=3; optional string sequence_id=4
        PredictionResponse: bytes prediction=1; optional string sequence_id=2; optional Status status=3
        Status: int32 code=1; string message=2; repeated google.protobuf.Any details=3
        TorchServeHealthResponse: string health=1
    """,
    "org.pytorch.serve.grpc.management": """
        ManagementResponse: string msg=1
        DescribeModelRequest: string model_name=1; string model_version=2; bool customized=3
        ListModelsRequest: int32 limit=1; int32 next_page_token=2
        RegisterModelRequest: int32 batch_size=1; string handler=2; int32 initial_workers=3; int32 max_batch_delay=4; string model_name=5; \
int32 response_timeout=6; string runtime=7; bool synchronous=8; string url=9; bool s3_sse_kms=10; int32 startup_timeout=11
        ScaleWorkerRequest: string model_name=1; string model_version=2; int32 max_worker=3; int32 min_worker=4; int32 number_gpu=5; \
bool synchronous=6; int32 timeout=7
        SetDefaultRequest: string model_name=1; string model_version=2
        UnregisterModelRequest: string model_name=1; string model_version=2
    """,
    "org.pytorch.serve.grpc.openinference": """
        ServerLiveRequest:
        ServerReadyRequest:
        ServerMetadataRequest:
        ServerLiveResponse: bool live=1
        ServerReadyResponse: bool ready=1
        ServerMetadataResponse: string name=1; string version=2; repeated string extensions=3
        ModelReadyRequest: string name=1; string version=2
        ModelReadyResponse: bool ready=1
        ModelMetadataRequest: string name=1; string version=2
        ModelMetadataResponse: string name=1; repeated string versions=2; string platform=3; repeated TensorMetadata inputs=4; \
repeated TensorMetadata outputs=5
        TensorMetadata: string name=1; string datatype=2; repeated int64 shape=3
        ModelInferRequest: string model_name=1; string model_version=2; string id=3; map<string,InferParameter> parameters=4; \
repeated InferInputTensor inputs=5; repeated InferRequestedOutputTensor outputs=6; repeated bytes raw_input_contents=7
        InferInputTensor: string name=1; string datatype=2; repeated int64 shape=3; map<string,InferParameter> parameters=4; \
InferTensorContents contents=5
        InferOutputTensor: string name=1; string datatype=2; repeated int64 shape=3; map<string,InferParameter> parameters=4; \
InferTensorContents contents=5
        InferRequestedOutputTensor: string name=1; map<string,InferParameter> parameters=2
        ModelInferResponse: string model_name=1; string model_version=2; string id=3; map<string,InferParameter> parameters=4; \
repeated InferOutputTensor outputs=5; repeated bytes raw_output_contents=6
        InferParameter: bool bool_param=1; int64 int64_param=2; string string_param=3
        InferTensorContents: repeated bool bool_contents=1; repeated int32 int_contents=2; repeated int64 int64_contents=3; \
repeated uint32 uint_contents=4; repeated uint64 uint64_contents=5; repeated float fp32_contents=6; repeated double fp64_contents=7; \
repeated bytes bytes_contents=8
    """,
}
"""Package -> message: fields, as specified (torchserve-spec, section 5)."""

_FIELD = descriptor_pb2.FieldDescriptorProto
_SCALARS = {
    word: getattr(_FIELD, f"TYPE_{word.upper()}")
    for word in ("string", "bytes", "bool", "int32", "int64", "uint32", "uint64", "float", "double")
}


def call(server: Server, ask: Mapping[str, Any], *, seconds: float) -> dict[str, Any]:
    """Make one call and return ``{"code", "details", "messages"}``.

    Args:
        server: whose port is called.
        ask: ``service``, ``method``, ``message`` (or ``messages`` for a stream of requests) and perhaps a ``key``.
        seconds: the call's deadline.
    """
    package, service, port = _SERVICES[ask["service"]]
    request_name, response_name = _METHODS[ask["method"]]
    request_class, response_class = _message_class(package, request_name), _message_class(package, response_name)
    requests = [_filled(request_class(), message) for message in ask.get("messages", [ask.get("message", {})])]
    metadata = [("authorization", f"Bearer {server.fill_in(ask['key'])}")] if "key" in ask else []
    is_stream_in, is_stream_out = ask["method"] == "StreamPredictions2", ask["method"].startswith("StreamPredictions")
    answer: dict[str, Any] = {"code": "OK", "details": "", "messages": []}
    with grpc.insecure_channel(f"127.0.0.1:{server.ports[port]}") as channel:
        kind = f"{'stream' if is_stream_in else 'unary'}_{'stream' if is_stream_out else 'unary'}"
        make: Callable[..., Any] = getattr(channel, kind)
        stub = make(
            f"/{package}.{service}/{ask['method']}",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=response_class.FromString,
        )
        given: Any = iter(requests) if is_stream_in else requests[0]
        try:
            came: Iterator[Any] = stub(given, metadata=metadata, timeout=seconds)
            for message in came if is_stream_out else [came]:
                answer["messages"].append(_plain(message))
        except grpc.RpcError as error:
            answer["code"], answer["details"] = error.code().name, error.details() or ""
    return answer


@cache
def _pool() -> descriptor_pool.DescriptorPool:
    pool = descriptor_pool.DescriptorPool()
    for module in (any_pb2, empty_pb2):
        pool.AddSerializedFile(module.DESCRIPTOR.serialized_pb)
    for package, text in _MESSAGES.items():
        pool.AddSerializedFile(_file(package, text).SerializeToString())
    return pool


@cache
def _message_class(package: str, name: str) -> Any:
    full_name = name if "." in name else f"{package}.{name}"
    return message_factory.GetMessageClass(_pool().FindMessageTypeByName(full_name))


def _file(package: str, text: str) -> descriptor_pb2.FileDescriptorProto:
    document = descriptor_pb2.FileDescriptorProto(name=f"{package}.proto", package=package, syntax="proto3")
    document.dependency.append("google/protobuf/any.proto")
    for line in filter(str.strip, text.splitlines()):
        name, _, fields = line.strip().partition(":")
        message = document.message_type.add(name=name)
        for written in filter(None, (part.strip() for part in fields.split(";"))):
            _add_field(message, package, written)
    return document


def _add_field(message: descriptor_pb2.DescriptorProto, package: str, written: str) -> None:
    declaration, _, number = written.rpartition("=")
    *words, name = declaration.split(" ")
    kind = words[-1]
    field = message.field.add(name=name, number=int(number), label=_FIELD.LABEL_OPTIONAL)
    if words[0] == "repeated":
        field.label = _FIELD.LABEL_REPEATED
    if words[0] == "optional":
        message.oneof_decl.add(name=f"_{name}")
        field.proto3_optional, field.oneof_index = True, len(message.oneof_decl) - 1
    if kind.startswith("map<"):
        entry = message.nested_type.add(name=f"{''.join(part.title() for part in name.split('_'))}Entry")
        entry.options.map_entry = True
        key_kind, _, value_kind = kind.removeprefix("map<").removesuffix(">").partition(",")
        _add_field(entry, package, f"{key_kind} key=1")
        _add_field(entry, package, f"{value_kind} value=2")
        field.label, field.type = _FIELD.LABEL_REPEATED, _FIELD.TYPE_MESSAGE
        field.type_name = f".{package}.{message.name}.{entry.name}"
    elif kind in _SCALARS:
        field.type = _SCALARS[kind]
    else:
        field.type = _FIELD.TYPE_MESSAGE
        field.type_name = f".{kind}" if "." in kind else f".{package}.{kind}"


def _filled(message: Any, values: Mapping[str, Any]) -> Any:
    """Fill a message in from plain JSON; texts become bytes where the field wants them."""
    for name, value in values.items():
        field = message.DESCRIPTOR.fields_by_name[name]
        is_bytes = field.type == field.TYPE_BYTES
        if field.type == field.TYPE_MESSAGE and field.message_type.GetOptions().map_entry:
            for key, item in value.items():
                getattr(message, name)[key] = item.encode()
        elif field.is_repeated and field.type == field.TYPE_MESSAGE:
            for item in value:
                _filled(getattr(message, name).add(), item)
        elif field.is_repeated:
            getattr(message, name).extend(item.encode() if is_bytes else item for item in value)
        elif field.type == field.TYPE_MESSAGE:
            _filled(getattr(message, name), value)
        else:
            setattr(message, name, value.encode() if is_bytes else value)
    return message


def _plain(message: Any) -> dict[str, Any]:
    plain: dict[str, Any] = {}
    for field, value in message.ListFields():
        if field.type == field.TYPE_MESSAGE and field.message_type.GetOptions().map_entry:
            plain[field.name] = {key: _plain_value(value[key]) for key in sorted(value)}
        elif field.is_repeated:
            plain[field.name] = [_plain_value(item) for item in value]
        else:
            plain[field.name] = _plain_value(value)
    if "msg" in plain and plain["msg"].startswith(("[", "{")):
        plain["msg"] = json.loads(plain["msg"])
    return plain


def _plain_value(value: Any) -> Any:
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError:
            return {"base64": base64.b64encode(value).decode()}
    return _plain(value) if hasattr(value, "ListFields") else value
