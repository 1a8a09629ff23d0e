"""The management API's pages: list, describe, register, scale, unregister, default version. Cold."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence

from flambeau.foundation.errors import FlambeauError, Internal, InvalidInput, NotAllowed, NotReady
from flambeau.serving.dataplane import DataPlane
from flambeau.serving.frontends.description import describe
from flambeau.serving.frontends.page_request import PageRequest, Rendered
from flambeau.serving.frontends.status import JSON, pretty
from flambeau.serving.management import Done, Management, Wish
from flambeau.serving.model import Answer, Job, Method, Protocol
from flambeau.serving.repository import LoadedModel

MODELS_LISTED_MAX = 100
"""Of ``GET /models``, per page; TorchServe's own bound."""
_DIRECTIONS = "Requested method is not allowed, please refer to API document."


class ManagementPages:
    """Answer what concerns the models themselves.

    Args:
        dataplane: what there is to tell.
        management: what can be changed.
        model_api: whether models may be registered and unregistered.
    """

    def __init__(self, dataplane: DataPlane, management: Management, *, model_api: bool) -> None:
        self._dataplane = dataplane
        self._management = management
        self._model_api = model_api

    async def models(self, request: PageRequest) -> Rendered:
        """List the models, or register one."""
        if request.head.method == "POST":
            self._check_model_api()
            return _done(await self._management.register(_wish(request)))
        query = request.query()
        return _page(listed(self._dataplane, query.integer("limit") or 0, query.integer("next_page_token") or 0))

    async def model(self, request: PageRequest) -> Rendered:
        """Describe, scale or unregister a model."""
        route, method = request.route, request.head.method
        if method == "PUT":
            return await self._scale(request)
        if method == "DELETE":
            self._check_model_api()
            return _done(await self._management.unregister(route.model, route.version))
        return await _described([self._dataplane.model(route.model, route.version)], request)

    async def all_versions(self, request: PageRequest) -> Rendered:
        """Describe every version of a model."""
        return await _described(self._dataplane.versions(request.route.model), request)

    async def set_default(self, request: PageRequest) -> Rendered:
        """Choose a model's default version."""
        assert request.route.version is not None, "the route has it"
        return _done(await self._management.choose_default(request.route.model, request.route.version))

    async def _scale(self, request: PageRequest) -> Rendered:
        parameters = request.parameters()
        least = parameters.integer("min_worker")
        least = 1 if least is None else least
        most = parameters.integer("max_worker")
        version = request.route.version or parameters.text("model_version")
        synchronous = parameters.boolean("synchronous", False)
        done = await self._management.scale(request.route.model, version, least, least if most is None else most, synchronous=synchronous)
        return _done(done)

    def _check_model_api(self) -> None:
        if not self._model_api:
            raise NotAllowed(_DIRECTIONS, hint="the model API is off: start with --enable-model-api")


def listed(dataplane: DataPlane, limit: int, first: int) -> dict[str, object]:
    """Return one page of the list of models.

    Args:
        dataplane: knows them.
        limit: so many at most; what is out of range means MODELS_LISTED_MAX.
        first: the token that the page before gave, or 0.
    """
    found, first = dataplane.default_models(), max(0, first)
    last = first + (limit if 0 < limit <= MODELS_LISTED_MAX else MODELS_LISTED_MAX)
    page: dict[str, object] = {"nextPageToken": str(last)} if last < len(found) else {}
    page["models"] = [{"modelName": model.name, "modelUrl": model.spec.url} for model in found[first:last]]
    return page


async def described(models: list[LoadedModel], *, customized: bool, request_id: str) -> list[dict[str, object]]:
    """Return descriptions of models.

    Args:
        models: which.
        customized: whether their handlers are asked too.
        request_id: of the asking.

    Raises:
        NotReady: no worker is there to be asked, or the handler failed.
    """
    # Memory of processes is read from the kernel, one file each: not on the loop.
    told = [await asyncio.to_thread(describe, model) for model in models]
    if customized:
        for model, description in zip(models, told, strict=True):
            description["customizedMetadata"] = await _own_words(model, request_id)
    return told


async def _described(models: list[LoadedModel], request: PageRequest) -> Rendered:
    customized = request.query().boolean("customized", False)
    return _page(await described(models, customized=customized, request_id=request.id))


class _Waiting:
    """A reply that somebody awaits (queue.Reply)."""

    def __init__(self) -> None:
        self.future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()

    def answer(self, answer: Answer) -> None:
        if not self.future.done():
            self.future.set_result(answer)

    def begin(self, head: Answer) -> None:
        """A description is not streamed."""

    def chunks(self, parts: Sequence[bytes]) -> None:
        """A description is not streamed."""


async def _own_words(model: LoadedModel, request_id: str) -> dict[str, object]:
    """Return what a model's handler says about it; anything but a JSON object counts as nothing, as in TorchServe."""
    waiting = _Waiting()
    job = Job(request_id, Protocol.TORCHSERVE, Method.DESCRIBE, "", (), b"")
    try:
        ticket = model.queue.submit(job, waiting)
    except NotReady as error:
        raise NotReady(
            f'Model "{model.name}" has no worker to serve describe request. Please use scale workers API to add workers.',
            hint=error.message,
            reason="NoWorker",
        ) from error
    try:
        answer = await waiting.future
    finally:
        model.queue.cancel(ticket)
    if answer.error_type is not None:
        raise _worker_error(answer)
    try:
        found = json.loads(answer.body)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _worker_error(answer: Answer) -> FlambeauError:
    text = answer.body.decode("utf-8", "replace")
    return NotReady(text, reason="HandlerFailed") if answer.status == 503 else Internal(text)


def _wish(request: PageRequest) -> Wish:
    parameters = request.parameters()
    url = parameters.text("url")
    if url is None:
        raise InvalidInput("Parameter url is required.")
    workers = parameters.integer("initial_workers")
    return Wish(
        url=url,
        name=parameters.text("model_name"),
        handler=parameters.text("handler"),
        runtime=parameters.text("runtime"),
        batch_size=_from(1, parameters.integer("batch_size")),
        max_batch_delay_ms=_from(0, parameters.integer("max_batch_delay")),
        initial_workers=None if workers is None else max(0, workers),
        response_timeout_seconds=_from(1, parameters.integer("response_timeout")),
        startup_timeout_seconds=_from(0, parameters.integer("startup_timeout")),
        synchronous=parameters.boolean("synchronous", True),
        signed=parameters.boolean("s3_sse_kms", False),
    )


def _from(least: int, number: int | None) -> int | None:
    """Return a number, or None where it is too small to mean anything."""
    return number if number is not None and number >= least else None


def _done(done: Done) -> Rendered:
    return _page({"status": done.message}, status=200 if done.finished else 202)


def _page(value: object, *, status: int = 200) -> Rendered:
    return status, [JSON], pretty(value)
