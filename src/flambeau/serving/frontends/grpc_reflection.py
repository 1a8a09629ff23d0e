"""Server reflection, for grpcurl and its like: what services there are, and the protos of each. Both names of the protocol are served."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from functools import partial
from typing import Any

import grpc
from google.protobuf import descriptor_pb2

from flambeau.serving.frontends.grpc_messages import message, pool
from flambeau.serving.frontends.grpc_service import Call, Service

_PACKAGES = ("grpc.reflection.v1", "grpc.reflection.v1alpha")


class ReflectionService:
    """Tell clients of the services.

    Args:
        services: their full names.
    """

    def __init__(self, services: Iterable[str]) -> None:
        names = [f"{package}.ServerReflection" for package in _PACKAGES]
        self._services = sorted({*services, *names})

    def services(self) -> list[Service]:
        """Return the service under each of its names; their messages are alike but for the package."""
        return [Service((f"{package}.ServerReflection",), {"ServerReflectionInfo": partial(self._info, package)}) for package in _PACKAGES]

    async def _info(self, package: str, requests: AsyncIterator[Any], call: Call) -> AsyncIterator[Any]:
        async for request in requests:
            response = message(f"{package}.ServerReflectionResponse")(valid_host=request.host, original_request=request)
            self._fill(request, response)
            yield response

    def _fill(self, request: Any, response: Any) -> None:
        try:
            match request.WhichOneof("message_request"):
                case "list_services":
                    for name in self._services:
                        response.list_services_response.service.add(name=name)
                case "file_by_filename":
                    _add_files(response, pool().FindFileByName(request.file_by_filename))
                case "file_containing_symbol":
                    _add_files(response, pool().FindFileContainingSymbol(request.file_containing_symbol))
                case _:
                    _refuse(response, grpc.StatusCode.UNIMPLEMENTED, "proto3 services have no extensions")
        except KeyError:
            _refuse(response, grpc.StatusCode.NOT_FOUND, "there is no such file or symbol")


def _add_files(response: Any, file: Any) -> None:
    """Add a file and what it imports, each once: a client reads them without asking again."""
    waiting, seen = [file], set()
    while waiting:
        file = waiting.pop()
        if file.name in seen:
            continue
        seen.add(file.name)
        described = descriptor_pb2.FileDescriptorProto()
        file.CopyToProto(described)
        response.file_descriptor_response.file_descriptor_proto.append(described.SerializeToString())
        waiting += file.dependencies


def _refuse(response: Any, code: grpc.StatusCode, text: str) -> None:
    response.error_response.error_code = code.value[0]
    response.error_response.error_message = text
