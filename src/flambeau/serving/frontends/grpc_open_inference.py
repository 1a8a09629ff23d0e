"""The Open Inference Protocol's service, under KServe's package and under TorchServe's: the checks and texts are those of V2 over REST."""

from __future__ import annotations

from functools import partial
from typing import Any

from flambeau.foundation.errors import Denied, InvalidInput
from flambeau.serving.frontends.grpc_asked import Models
from flambeau.serving.frontends.grpc_messages import message, read_apart, wire_form
from flambeau.serving.frontends.grpc_service import Call, Service
from flambeau.serving.frontends.repository import ModelRepository
from flambeau.serving.frontends.routes import Plane
from flambeau.serving.model import Job, Method, Protocol
from flambeau.serving.protocol.v2_binary import CONTENT_TYPE, HEADER_LENGTH
from flambeau.serving.protocol.v2_grpc import binary_form, fill_response

NAMES = ("inference.GRPCInferenceService", "org.pytorch.serve.grpc.openinference.GRPCInferenceService")

_MANAGING = frozenset({"RepositoryModelLoad", "RepositoryModelUnload"})


class OpenInferenceService:
    """Answer the Open Inference Protocol.

    Args:
        models: who answers.
        repository: tells which there are.
        manages: whether the door is the management's, too: models are loaded and unloaded at no other.
    """

    def __init__(self, models: Models, repository: ModelRepository, *, manages: bool) -> None:
        self._models = models
        self._repository = repository
        self._manages = manages
        self._dataplane = models.dataplane

    def service(self) -> Service:
        """Return the service's methods."""
        methods = {
            "ServerLive": self._server_live,
            "ServerReady": self._server_ready,
            "ModelReady": self._model_ready,
            "ServerMetadata": self._server_metadata,
            "ModelMetadata": self._model_metadata,
            "ModelInfer": self._model_infer,
            "RepositoryIndex": self._repository_index,
            "RepositoryModelLoad": self._repository_model_load,
            "RepositoryModelUnload": self._repository_model_unload,
        }
        readers = {"ModelInfer": partial(read_apart, message("inference.ModelInferRequest"), "raw_input_contents")}
        return Service(NAMES, methods, Plane.INFERENCE, frozenset({"ServerLive", "ServerReady"}), _MANAGING, readers)

    async def _server_live(self, request: Any, call: Call) -> Any:
        return message("inference.ServerLiveResponse")(live=True)

    async def _server_ready(self, request: Any, call: Call) -> Any:
        return message("inference.ServerReadyResponse")(ready=self._dataplane.readiness().ready)

    async def _model_ready(self, request: Any, call: Call) -> Any:
        standing = self._dataplane.standing(_named(request.name), request.version or None)
        return message("inference.ModelReadyResponse")(ready=standing.ready)

    async def _server_metadata(self, request: Any, call: Call) -> Any:
        return message("inference.ServerMetadataResponse")(**self._dataplane.server_metadata())

    async def _model_metadata(self, request: Any, call: Call) -> Any:
        found = self._dataplane.model_metadata(_named(request.name), request.version or None)
        return message("inference.ModelMetadataResponse")(**found)

    async def _model_infer(self, read: tuple[Any, list[bytes] | list[memoryview]], call: Call) -> Any:
        request, raw = read
        name = _named(request.model_name)
        body, json_bytes = binary_form(request, raw)
        headers = tuple((name, value) for name, value in call.headers if name != HEADER_LENGTH)
        job = Job(
            id=call.id,
            protocol=Protocol.V2,
            method=Method.PREDICT,
            content_type=CONTENT_TYPE,
            headers=(*headers, (HEADER_LENGTH, str(json_bytes))),
            body=body,
        )
        answer = await self._models.ask(name, request.model_version or None, job, call.deadline).whole()
        response = message("inference.ModelInferResponse")()
        length = next((int(value) for name, value in answer.headers if name == HEADER_LENGTH), len(answer.body))
        return wire_form(response, "raw_output_contents", fill_response(response, answer.body, length, raw=bool(raw)))

    async def _repository_index(self, request: Any, call: Call) -> Any:
        return message("inference.RepositoryIndexResponse")(models=self._repository.index(ready=request.ready))

    async def _repository_model_load(self, request: Any, call: Call) -> Any:
        name = self._to_change(request)
        await self._repository.load(name)
        return message("inference.RepositoryModelLoadResponse")(model_name=name, isLoaded=True)

    async def _repository_model_unload(self, request: Any, call: Call) -> Any:
        name = self._to_change(request)
        await self._repository.unload(name)
        return message("inference.RepositoryModelUnloadResponse")(model_name=name, isUnloaded=True)

    def _to_change(self, request: Any) -> str:
        """Return the model that is meant: Triton's clients name it in the second field, after a repository; KServe's in the first."""
        if not self._manages:
            raise Denied(
                "models are not loaded and unloaded at the inference's door",
                hint="ask the REST management port, or give grpc_management_port the inference's value",
                reason="ModelApiDisabled",
            )
        return _named(request.model_name or request.repository_name)


def _named(name: str) -> str:
    if not name:
        raise InvalidInput("Parameter model_name is required.")
    return name
