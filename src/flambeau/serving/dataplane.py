"""What every door calls: live, ready, metadata, describe, and the model that a request goes to.

One object per server; HTTP now and gRPC later turn its answers into their own words. It decides nothing about bytes and waits for nothing
but readiness.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import flambeau
from flambeau.foundation.errors import NotReady, TimedOut
from flambeau.serving.model import Signature, TensorSignature
from flambeau.serving.repository import LoadedModel, Origin, Repository, Standing


@dataclass(frozen=True, slots=True)
class Readiness:
    """Whether every startup model can answer, and if not, why."""

    ready: bool
    reason: str = ""
    """CamelCase, of the first model that cannot."""
    message: str = ""
    """One sentence: model, phase, cause, hint."""
    models: dict[str, dict[str, object]] = field(default_factory=dict)
    log_tail: tuple[str, ...] = ()
    """Last lines that the failing model's worker wrote."""

    def as_json(self) -> dict[str, object]:
        """Return the body of ``/v2/health/ready``."""
        if self.ready:
            return {"ready": True}
        return {
            "ready": False,
            "reason": self.reason,
            "message": self.message,
            "models": self.models,
            "log_tail": list(self.log_tail),
        }


_STARTING = Readiness(False, "Starting", "the server is starting")
_STOPPING = Readiness(False, "Stopping", "the server is stopping")


class DataPlane:
    """Answer for the models of a repository.

    Args:
        repository: where they are.
        is_starting: the models of the start are still to be registered, and until ``start_being_ready`` nothing is ready: doors open
            before, and whoever asked at once would hear that all of no models are.
    """

    def __init__(self, repository: Repository, *, is_starting: bool = False) -> None:
        self._repository = repository
        self._held_back = _STARTING if is_starting else None

    def start_being_ready(self) -> None:
        """Say from now on what the models say."""
        self._held_back = None

    def stop_being_ready(self) -> None:
        """Say not ready from now on, so that no new work is sent here; what comes is still answered."""
        self._held_back = _STOPPING

    def model(self, name: str, version: str | None) -> LoadedModel:
        """Return the model that a request goes to.

        Raises:
            NotFound: there is none of that name or version; the text names those there are.
            NotReady: it is still loading, or failed to; the text says in which phase and why.
        """
        return self._repository.find(name, version)

    def standings(self) -> Sequence[Standing]:
        """Return how every model stands, in the order in which they were registered."""
        return self._repository.standings()

    def readiness(self) -> Readiness:
        """Return whether every model of the start has its least number of workers ready."""
        standings = self.standings()
        models: dict[str, dict[str, object]] = {}
        for standing in standings:
            told: dict[str, object] = {"ready": standing.ready, "phase": str(standing.phase)}
            models[standing.label] = {**told, "message": standing.message} if standing.message else told
        if self._held_back is not None:
            return replace(self._held_back, models=models)
        waiting = [standing for standing in standings if not standing.ready and standing.awaited]
        if not waiting:
            return Readiness(True, models=models)
        # A failure is worth more words than a model that is merely on its way.
        worst = next((standing for standing in waiting if standing.failed), waiting[0])
        return Readiness(False, worst.reason, worst.message, models, worst.log_tail)

    async def readiness_within(self, seconds: float) -> Readiness:
        """Wait until every model of the start is ready or a worker of one fails, and return the readiness then; or after the time.

        A model whose archive is still being read is not waited for.
        """
        deadline = asyncio.get_running_loop().time() + seconds
        for model in self.models():
            if model.origin.is_start:
                with contextlib.suppress(NotReady, TimedOut):
                    await model.pool.wait_ready(deadline)
        return self.readiness()

    def health(self) -> Readiness:
        """Return the readiness, where a model that was registered later and has failed counts too."""
        readiness = self.readiness()
        if readiness.ready:
            for standing in self.standings():
                if standing.failed:
                    return Readiness(False, standing.reason, standing.message, readiness.models, standing.log_tail)
        return readiness

    def standing(self, name: str, version: str | None) -> Standing:
        """Return how one model stands.

        Raises:
            NotFound: there is none of that name or version.
        """
        return self._repository.standing(name, version)

    def names(self) -> list[str]:
        """Return the names of all models, sorted."""
        return self._repository.names()

    def models(self) -> list[LoadedModel]:
        """Return every model whose archive was read."""
        return self._repository.models()

    def server_metadata(self) -> dict[str, object]:
        """Return the Open Inference Protocol's server metadata."""
        return {"name": "flambeau", "version": flambeau.__version__, "extensions": ["binary_tensor_data"]}

    def model_metadata(self, name: str, version: str | None) -> dict[str, object]:
        """Return the Open Inference Protocol's model metadata; most archives declare no tensors, and then none are listed.

        Raises:
            NotFound: there is none of that name or version.
        """
        self._repository.standing(name, version)
        versions = [model.version for model in self._repository.versions(name)]
        signature = self._repository.find(name, version).pool.signature if versions else Signature()
        return {
            "name": name,
            "versions": versions,
            "platform": signature.platform,
            "inputs": [_told(each) for each in signature.inputs],
            "outputs": [_told(each) for each in signature.outputs],
        }

    def default_models(self) -> list[LoadedModel]:
        """Return every model's default version, sorted by name; without functions of workflows, which no url names."""
        return [self.model(name, None) for name in sorted({model.name for model in self.models() if model.spec.url})]

    def only_startup_model(self) -> str | None:
        """Return the name of the model that load_models gave, if it is one alone."""
        names = {model.name for model in self.models() if model.origin is Origin.STARTUP}
        return names.pop() if len(names) == 1 else None

    def versions(self, name: str) -> list[LoadedModel]:
        """Return every version of a model.

        Raises:
            NotFound: there is none of that name.
            NotReady: its archive is not read yet, or could not be.
        """
        return self._repository.versions(self.model(name, None).name)


def _told(tensor: TensorSignature) -> dict[str, object]:
    return {"name": tensor.name, "datatype": tensor.datatype, "shape": list(tensor.shape)}
