"""TorchServe's management service: the REST pages' doings and texts. Numbers up to 0 and empty texts mean "not given"."""

from __future__ import annotations

from typing import Any

from flambeau.foundation.errors import Denied, InvalidInput
from flambeau.serving.dataplane import DataPlane
from flambeau.serving.frontends.grpc_messages import message
from flambeau.serving.frontends.grpc_service import Call, Service
from flambeau.serving.frontends.management import described, listed
from flambeau.serving.frontends.routes import Plane
from flambeau.serving.frontends.status import pretty
from flambeau.serving.management import Done, Management, Wish

_PACKAGE = "org.pytorch.serve.grpc.management"


class ManagementService:
    """Answer TorchServe's management calls.

    Args:
        dataplane: what there is to tell.
        management: what can be changed.
        model_api: whether models may be registered and unregistered.
    """

    def __init__(self, dataplane: DataPlane, management: Management, *, model_api: bool) -> None:
        self._dataplane = dataplane
        self._management = management
        self._model_api = model_api
        self._response = message(f"{_PACKAGE}.ManagementResponse")

    def service(self) -> Service:
        """Return the service's methods."""
        methods = {
            "DescribeModel": self._describe,
            "ListModels": self._list,
            "RegisterModel": self._register,
            "ScaleWorker": self._scale,
            "SetDefault": self._set_default,
            "UnregisterModel": self._unregister,
        }
        return Service((f"{_PACKAGE}.ManagementAPIsService",), methods, Plane.MANAGEMENT)

    async def _describe(self, request: Any, call: Call) -> Any:
        name, version = _required(request, "model_name"), request.model_version or None
        models = self._dataplane.versions(name) if version == "all" else [self._dataplane.model(name, version)]
        return self._page(await described(models, customized=request.customized, request_id=call.id))

    async def _list(self, request: Any, call: Call) -> Any:
        return self._page(listed(self._dataplane, request.limit, request.next_page_token))

    async def _register(self, request: Any, call: Call) -> Any:
        self._check_model_api()
        wish = Wish(
            url=_required(request, "url"),
            name=request.model_name or None,
            handler=request.handler or None,
            runtime=request.runtime or None,
            batch_size=_positive(request.batch_size),
            max_batch_delay_ms=_positive(request.max_batch_delay),
            initial_workers=_positive(request.initial_workers),
            response_timeout_seconds=_positive(request.response_timeout),
            startup_timeout_seconds=_positive(request.startup_timeout),
            synchronous=request.synchronous,
            signed=request.s3_sse_kms,
        )
        return self._done(await self._management.register(wish))

    async def _scale(self, request: Any, call: Call) -> Any:
        name, version = _required(request, "model_name"), request.model_version or None
        least = _positive(request.min_worker) or 1
        most = _positive(request.max_worker) or least
        return self._done(await self._management.scale(name, version, least, most, synchronous=request.synchronous))

    async def _set_default(self, request: Any, call: Call) -> Any:
        name, version = _required(request, "model_name"), _required(request, "model_version")
        return self._done(await self._management.choose_default(name, version))

    async def _unregister(self, request: Any, call: Call) -> Any:
        self._check_model_api()
        return self._done(await self._management.unregister(_required(request, "model_name"), request.model_version or None))

    def _check_model_api(self) -> None:
        if not self._model_api:
            raise Denied("Model API disabled", hint="start with --enable-model-api", reason="ModelApiDisabled")

    def _done(self, done: Done) -> Any:
        return self._response(msg=done.message)

    def _page(self, value: object) -> Any:
        return self._response(msg=pretty(value).decode().rstrip())


def _required(request: Any, name: str) -> str:
    value: str = getattr(request, name)
    if not value:
        raise InvalidInput(f"Parameter {name} is required.")
    return value


def _positive(number: int) -> int | None:
    return number if number > 0 else None
