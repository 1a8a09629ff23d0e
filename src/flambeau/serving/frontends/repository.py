"""The Open Inference Protocol's model repository extension, for REST and gRPC: what is there, load one by its name, take one away.

KServe's and Triton's clients know it. It changes nothing that the management API would not: the same switch and the same keys hold.
"""

from __future__ import annotations

from flambeau.foundation.errors import Denied, NotFound
from flambeau.serving.dataplane import DataPlane
from flambeau.serving.management import Management, Wish, workers_loaded


class ModelRepository:
    """Tell and change which models there are.

    Args:
        dataplane: what there is to tell.
        management: what can be changed.
        model_api: whether models may be registered and unregistered.
    """

    def __init__(self, dataplane: DataPlane, management: Management, *, model_api: bool) -> None:
        self._dataplane = dataplane
        self._management = management
        self._model_api = model_api

    def index(self, *, ready: bool) -> list[dict[str, str]]:
        """Return name, version and state of every model, in Triton's words.

        Args:
            ready: leave out those that can't answer.
        """
        found = [(model, self._dataplane.standing(model.name, model.version)) for model in self._dataplane.models()]
        return [
            {
                "name": model.name,
                "version": model.version,
                "state": "READY" if standing.ready else "UNAVAILABLE" if standing.failed else "LOADING",
                "reason": standing.message,
            }
            for model, standing in found
            if standing.ready or not ready
        ]

    async def load(self, name: str) -> None:
        """Have a model: the one that is there, or the archive or folder of that name in the model store.

        Raises:
            Denied: the model API is off.
            NotFound: there is none.
            WorkerLost: a worker could not load the model.
        """
        self._check_model_api()
        try:
            model = self._dataplane.model(name, None)
        except NotFound:
            await self._register(name)
        else:
            await workers_loaded(model, model.name, model.version)

    async def _register(self, name: str) -> None:
        try:
            await self._management.register(Wish(url=f"{name}.mar", name=name))
        except NotFound:
            await self._management.register(Wish(url=name, name=name))

    async def unload(self, name: str) -> None:
        """Take all versions of a model away after they have answered what they had accepted.

        Raises:
            Denied: the model API is off.
            NotFound: there is none.
            Conflict: it is a workflow's.
        """
        self._check_model_api()
        default = self._dataplane.model(name, None).version
        for model in self._dataplane.versions(name):
            if model.version != default:
                await self._management.unregister(name, model.version)
        await self._management.unregister(name, default)

    def _check_model_api(self) -> None:
        if not self._model_api:
            raise Denied("models are not loaded and unloaded here", hint="start with --enable-model-api", reason="ModelApiDisabled")
