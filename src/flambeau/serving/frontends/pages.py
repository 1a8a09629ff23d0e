"""Every page but inference: health, metadata, descriptions, metrics. Small, cold, made on request."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any
from urllib.parse import parse_qs

import orjson

from flambeau.foundation.errors import NotAllowed
from flambeau.foundation.http1 import Head
from flambeau.serving.dataplane import DataPlane
from flambeau.serving.frontends.description import describe
from flambeau.serving.frontends.metrics import CONTENT_TYPE, ServerMetrics
from flambeau.serving.frontends.routes import Page, Route
from flambeau.serving.frontends.status import JSON, RETRY_AFTER_SECONDS_DEFAULT, pretty
from flambeau.serving.repository import LoadedModel

Rendered = tuple[int, list[tuple[bytes, bytes]], bytes]
"""Status, headers, body."""

MODELS_LISTED_MAX = 100
"""Of ``GET /models``, per page; TorchServe's own bound."""

_RETRY = (b"retry-after", b"%d" % RETRY_AFTER_SECONDS_DEFAULT)


class Pages:
    """Answer pages.

    Args:
        dataplane: what there is to tell.
        metrics: for ``/metrics``.
        model_api: whether models may be registered and unregistered; until they can be, the refusal says which of the two is missing.
    """

    def __init__(self, dataplane: DataPlane, metrics: ServerMetrics, *, model_api: bool) -> None:
        self._dataplane = dataplane
        self._metrics = metrics
        self._model_api = model_api
        self._makers: dict[Page, Callable[[Route, Head], Rendered | Coroutine[Any, Any, Rendered]]] = {
            Page.PING: self._ping,
            Page.ROOT: lambda route, head: (200, [JSON], b'{"status":"alive"}'),
            Page.LIVE: lambda route, head: (200, [JSON], b'{"live":true}'),
            Page.READY: self._ready,
            Page.SERVER_METADATA: lambda route, head: _json(dataplane.server_metadata()),
            Page.V1_MODELS: lambda route, head: _json({"models": dataplane.names()}),
            Page.V1_MODEL: self._model_ready,
            Page.V2_MODELS: lambda route, head: _json({"models": dataplane.names()}),
            Page.V2_MODEL: lambda route, head: _json(dataplane.model_metadata(route.model, route.version)),
            Page.V2_MODEL_READY: self._model_ready,
            Page.MODELS: self._models,
            Page.MODEL: self._model,
            Page.MODEL_ALL_VERSIONS: lambda route, head: _described(dataplane.versions(route.model)),
            Page.METRICS: self._metrics_text,
        }

    def answer(self, route: Route, head: Head) -> Rendered | Coroutine[Any, Any, Rendered]:
        """Return a page, or a coroutine that makes it off the event loop.

        Raises:
            FlambeauError: what the page is about isn't there, or can't be done.
        """
        return self._makers[route.page](route, head)

    def _ping(self, route: Route, head: Head) -> Rendered:
        """TorchServe says Healthy before anything is loaded; here it means that every model can answer."""
        readiness = self._dataplane.readiness()
        if readiness.ready:
            return _pretty({"status": "Healthy"})
        return _pretty({"status": "Unhealthy", "message": readiness.message}, status=500)

    def _ready(self, route: Route, head: Head) -> Rendered:
        readiness = self._dataplane.readiness()
        return _json(readiness.as_json()) if readiness.ready else (503, [JSON, _RETRY], orjson.dumps(readiness.as_json()))

    def _model_ready(self, route: Route, head: Head) -> Rendered:
        standing = self._dataplane.standing(route.model, route.version)
        if standing.ready:
            return _json({"name": route.model, "ready": True})
        return 503, [JSON, _RETRY], orjson.dumps({"name": route.model, "ready": False, "error": standing.message})

    def _models(self, route: Route, head: Head) -> Rendered:
        self._refuse_changes(head.method)
        found = self._dataplane.default_models()
        query = parse_qs(head.query.decode("latin-1"))
        limit = _whole_number(query, "limit", MODELS_LISTED_MAX)
        first = max(0, _whole_number(query, "next_page_token", 0))
        last = first + (limit if 0 < limit <= MODELS_LISTED_MAX else MODELS_LISTED_MAX)
        page: dict[str, object] = {"nextPageToken": str(last)} if last < len(found) else {}
        page["models"] = [{"modelName": model.name, "modelUrl": model.spec.url} for model in found[first:last]]
        return _pretty(page)

    def _model(self, route: Route, head: Head) -> Rendered:
        self._refuse_changes(head.method)
        return _described([self._dataplane.model(route.model, route.version)])

    def _refuse_changes(self, method: str) -> None:
        if method in ("GET", "HEAD"):
            return
        if method in ("POST", "DELETE") and not self._model_api:
            raise NotAllowed(
                "Requested method is not allowed, please refer to API document.", hint="the model API is off: start with --enable-model-api"
            )
        raise NotAllowed(
            "Requested method is not allowed, please refer to API document.",
            hint="this version loads models at the start only and scales them between minWorkers and maxWorkers by itself",
        )

    async def _metrics_text(self, route: Route, head: Head) -> Rendered:
        text = await asyncio.to_thread(self._metrics.text)
        return 200, [(b"content-type", CONTENT_TYPE)], text


def _json(value: object) -> Rendered:
    return 200, [JSON], orjson.dumps(value)


def _pretty(value: object, *, status: int = 200) -> Rendered:
    return status, [JSON], pretty(value)


def _described(models: list[LoadedModel]) -> Rendered:
    return _pretty([describe(model) for model in models])


def _whole_number(query: dict[str, list[str]], name: str, default: int) -> int:
    """Return a query parameter; what is no number counts as absent, as in TorchServe."""
    try:
        return int(query[name][-1])
    except (KeyError, ValueError):
        return default
