"""Every page but inference: health, metadata, descriptions, metrics. Small, cold, made on request."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

import orjson

from flambeau.foundation.errors import NotAllowed
from flambeau.serving.dataplane import DataPlane, Readiness
from flambeau.serving.frontends.management import ManagementPages
from flambeau.serving.frontends.openapi import describe_doors, describe_management, describe_model
from flambeau.serving.frontends.page_request import PageRequest, Rendered, query_pairs
from flambeau.serving.frontends.repository import ModelRepository
from flambeau.serving.frontends.routes import Page, Plane, nowhere
from flambeau.serving.frontends.status import JSON, RETRY_AFTER_SECONDS_DEFAULT, pretty
from flambeau.serving.frontends.tokens import Tokens
from flambeau.serving.frontends.workflows import WorkflowPages
from flambeau.serving.management import Management
from flambeau.serving.metrics.server import ServerMetrics
from flambeau.serving.metrics.text import CONTENT_TYPE
from flambeau.serving.workflow.registry import Workflows

READY_WAIT_SECONDS_MAX = 2.0
"""So long a question about readiness may be kept, if it asks for that (``Prefer: wait=2``, RFC 7240)."""
_WAIT = re.compile(rb"(?i)(?:^|[,;\s])wait=([0-9]{1,4})(?![^,;\s])")
_RETRY = (b"retry-after", b"%d" % RETRY_AFTER_SECONDS_DEFAULT)


@dataclass(frozen=True, slots=True)
class Transforms:
    """How SageMaker's batch transform should ask."""

    at_once_max: int
    body_bytes_max: int

    def as_json(self) -> dict[str, object]:
        """Return the answer of ``/execution-parameters``."""
        return {
            "MaxConcurrentTransforms": self.at_once_max,
            "BatchStrategy": "MULTI_RECORD",
            "MaxPayloadInMB": self.body_bytes_max // 2**20,
        }


class Pages:
    """Answer pages.

    Args:
        dataplane: what there is to tell.
        management: what can be changed.
        metrics: for ``/metrics``.
        tokens: who may see more, and get new keys; None: everybody may.
        workflows: what workflows there are.
        model_api: whether models may be registered and unregistered.
        transforms: what SageMaker's batch transform is told.
        openai_prefix: what stands before OpenAI's paths.
    """

    def __init__(
        self,
        dataplane: DataPlane,
        management: Management,
        metrics: ServerMetrics,
        tokens: Tokens | None,
        *,
        workflows: Workflows,
        model_api: bool,
        transforms: Transforms,
        openai_prefix: str,
    ) -> None:
        self._openai_prefix = openai_prefix
        self._dataplane = dataplane
        self._tokens = tokens
        self._metrics = metrics
        self._repository = ModelRepository(dataplane, management, model_api=model_api)
        models = ManagementPages(dataplane, management, model_api=model_api)
        flows = WorkflowPages(workflows, model_api=model_api)
        self._makers: dict[Page, Callable[[PageRequest], Rendered | Coroutine[Any, Any, Rendered]]] = {
            Page.PING: self._ping,
            Page.ROOT: self._root,
            Page.LIVE: lambda request: (200, [JSON], b'{"live":true}'),
            Page.READY: self._ready,
            Page.SERVER_METADATA: lambda request: _json(dataplane.server_metadata()),
            Page.V1_MODELS: lambda request: _json({"models": dataplane.names()}),
            Page.V1_MODEL: self._model_ready,
            Page.V2_MODELS: lambda request: _json({"models": dataplane.names()}),
            Page.V2_MODEL: lambda request: _json(dataplane.model_metadata(request.route.model, request.route.version)),
            Page.V2_MODEL_READY: self._model_ready,
            Page.REPOSITORY_INDEX: lambda request: _json(self._repository.index(ready=request.parameters().boolean("ready", False))),
            Page.REPOSITORY_LOAD: self._load,
            Page.REPOSITORY_UNLOAD: self._unload,
            Page.OPENAI_MODELS: lambda request: _json({"object": "list", "data": [_openai_model(name) for name in dataplane.names()]}),
            Page.OPENAI_MODEL: self._openai_model,
            Page.MODELS: models.models,
            Page.MODEL: models.model,
            Page.MODEL_ALL_VERSIONS: models.all_versions,
            Page.SET_DEFAULT: models.set_default,
            Page.WORKFLOWS: flows.workflows,
            Page.WORKFLOW: flows.workflow,
            Page.WORKFLOW_PREDICT: flows.predict,
            Page.EXECUTION_PARAMETERS: lambda request: _pretty(transforms.as_json()),
            Page.TOKEN: self._token,
            Page.API_DESCRIPTION: lambda request: _pretty(describe_doors(request.planes, openai_prefix)),
            Page.METRICS: self._metrics_text,
        }

    def answer(self, request: PageRequest) -> Rendered | Coroutine[Any, Any, Rendered]:
        """Return a page, or a coroutine that makes it off the event loop.

        Raises:
            FlambeauError: what the page is about isn't there, or can't be done.
        """
        if request.head.method == "OPTIONS" and request.route.page in (Page.ROOT, Page.MODEL, Page.INFER):
            return self._description(request)
        return self._makers[request.route.page](request)

    def _description(self, request: PageRequest) -> Rendered:
        """Describe the door's API, or that of a model that is there."""
        route = request.route
        if not route.model:
            return _pretty(describe_doors(request.planes, self._openai_prefix))
        self._dataplane.model(route.model, route.version)
        return _pretty(describe_management(route.model) if route.page is Page.MODEL else describe_model(route.model))

    def _root(self, request: PageRequest) -> Rendered:
        """Say that the server is there, where KServe asks."""
        if Plane.INFERENCE not in request.planes:
            raise NotAllowed("Requested method is not allowed, please refer to API document.", hint="use OPTIONS")
        return 200, [JSON], b'{"status":"alive"}'

    def _ping(self, request: PageRequest) -> Rendered:
        """TorchServe says Healthy before anything is loaded; here it means that every model can answer."""
        readiness = self._dataplane.health()
        if readiness.ready:
            return _pretty({"status": "Healthy"})
        return _pretty({"status": "Unhealthy", "message": readiness.message}, status=500)

    def _ready(self, request: PageRequest) -> Rendered | Coroutine[Any, Any, Rendered]:
        readiness = self._dataplane.readiness()
        if not readiness.ready and (wait := _WAIT.search(request.head.get(b"prefer") or b"")):
            return self._ready_within(request, min(float(wait[1]), READY_WAIT_SECONDS_MAX))
        return self._told(request, readiness)

    async def _ready_within(self, request: PageRequest, seconds: float) -> Rendered:
        return self._told(request, await self._dataplane.readiness_within(seconds))

    def _told(self, request: PageRequest, readiness: Readiness) -> Rendered:
        if readiness.ready:
            return _json({"ready": True})
        # Probers have no key and get the bare answer; names of models and lines of logs are for those who have one.
        is_known = self._tokens is None or self._tokens.opens(request.route.planes_on(request.planes), request.head.get(b"authorization"))
        return 503, [JSON, _RETRY], orjson.dumps(readiness.as_json() if is_known else {"ready": False, "reason": readiness.reason})

    def _model_ready(self, request: PageRequest) -> Rendered:
        standing = self._dataplane.standing(request.route.model, request.route.version)
        if standing.ready:
            return _json({"name": request.route.model, "ready": True})
        return 503, [JSON, _RETRY], orjson.dumps({"name": request.route.model, "ready": False, "error": standing.message})

    async def _load(self, request: PageRequest) -> Rendered:
        await self._repository.load(request.route.model)
        return _json({"name": request.route.model, "load": True})

    async def _unload(self, request: PageRequest) -> Rendered:
        await self._repository.unload(request.route.model)
        return _json({"name": request.route.model, "unload": True})

    def _openai_model(self, request: PageRequest) -> Rendered:
        self._dataplane.standing(request.route.model, None)
        return _json(_openai_model(request.route.model))

    def _token(self, request: PageRequest) -> Rendered:
        """Make a key anew."""
        if self._tokens is None:
            raise nowhere()
        kind = request.query().text("type") or ""
        return _pretty(self._tokens.renew(kind, request.head.get(b"authorization")))

    async def _metrics_text(self, request: PageRequest) -> Rendered:
        wanted = frozenset(value for name, value in query_pairs(request.head.query) if name == "name[]")
        text = await asyncio.to_thread(self._metrics.page(wanted))
        return 200, [(b"content-type", CONTENT_TYPE)], text


def _openai_model(name: str) -> dict[str, object]:
    return {"id": name, "object": "model", "created": 0, "owned_by": "flambeau"}


def _json(value: object) -> Rendered:
    return 200, [JSON], orjson.dumps(value)


def _pretty(value: object, *, status: int = 200) -> Rendered:
    return status, [JSON], pretty(value)
