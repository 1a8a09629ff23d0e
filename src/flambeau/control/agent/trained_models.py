"""Load what TrainedModels add into the servers of pods that run: fetch, link, tell the server, note what came of it.

It does what KServe's agent container does beside a server. The server is asked at a door of its own, a Unix socket that only this user
may open, in the words of TorchServe's management API.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Collection
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import orjson

from flambeau.control.agent.directory import PodDirectory, PodId
from flambeau.control.agent.fetching import fetch_another
from flambeau.control.resources.conditions import get_condition
from flambeau.control.resources.kind import Key, Object
from flambeau.control.resources.lookup import find
from flambeau.control.resources.trained_models import (
    LOADED_ANNOTATION,
    Loaded,
    Wanted,
    loaded_of,
    loaded_text,
    run_of,
    service_of_config,
    to_load,
    to_unload,
)
from flambeau.control.store.follow import follow
from flambeau.control.store.interface import Change, Event, Store, modify
from flambeau.foundation.ask import Answer, ask
from flambeau.foundation.clock import Clock
from flambeau.foundation.errors import FlambeauError, NotFound, Unavailable
from flambeau.foundation.tasks import TaskOwner
from flambeau.storage.cache import Cache

LOAD_SECONDS_MAX = 600.0
"""For a server to load a model, or to let it finish its requests and go."""
RETRY_SECONDS_MIN = 1.0
"""Before a model that failed is tried again; doubled each time."""
RETRY_SECONDS_MAX = 60.0
_SERVICE_LABEL = "serving.kserve.io/inferenceservice"
_COMPONENT_LABEL = "component"
_CONFIG_MAPS = "configmaps"
_HOLDER_PREFIX = "trained/"
_log = logging.getLogger(__name__)


class TrainedModels:
    """Keep in each pod the models that its InferenceService is to have beside its own.

    Args:
        store: where Pods and ConfigMaps are.
        pods: the folder of all pods.
        cache: of models.
        clock: for the pauses and the log.
    """

    def __init__(self, store: Store, pods: Path, cache: Cache, clock: Clock) -> None:
        self._store = store
        self._folder = pods
        self._cache = cache
        self._clock = clock
        self._configs: dict[tuple[str, str], Object] = {}
        self._pods: dict[PodId, Object] = {}
        self._up: set[PodId] = set()
        """Not ready yet, but their servers answer."""
        self._working: dict[PodId, asyncio.Event] = {}
        """Pods that are seen to, and word for them that what they are to have has changed."""
        self._tasks = TaskOwner("trained models")

    async def run(self) -> None:
        """Follow pods and ConfigMaps for ever.

        Cancel: what servers have loaded stays loaded; a load that runs is begun again by the next agent.
        """
        try:
            await asyncio.gather(self._tasks.keep("pods", self._follow_pods), self._tasks.keep("configs", self._follow_configs))
        finally:
            await self._tasks.close()

    def release_abandoned(self, uids: Collection[str]) -> None:
        """Give back what pods that aren't there any more hold in the cache. Blocks, on files.

        Args:
            uids: of the pods that there are.
        """
        for digest, holders in self._cache.leases().items():
            for held in holders:
                if held.startswith(_HOLDER_PREFIX) and held.removeprefix(_HOLDER_PREFIX).partition("/")[0] not in uids:
                    self._cache.release(digest, held)

    def held_back(self, id: PodId) -> str:
        """Return why a pod whose server answers is not to be shown ready yet: it lacks models that were not tried since the server started.

        Each is tried once: one that fails holds nothing up.
        """
        self._up.add(id)
        _, new = self._todo(id)
        pod = self._pods.get(id)
        told = loaded_of(pod) if pod is not None else {}
        untried = [each.name for each in new if each.name not in told or told[each.name].run != run_of(pod or {})]
        if untried:
            self._look_at(id)
        return f"its server answers; TrainedModels still to load: {', '.join(untried)}" if untried else ""

    async def _follow_pods(self) -> None:
        async for event in follow(self._store, "pods", clock=self._clock):
            labels = event.object["metadata"].get("labels") or {}
            if _SERVICE_LABEL not in labels or labels.get(_COMPONENT_LABEL) != "predictor":
                continue
            id = PodId.of(event.object)
            if event.change is Change.DELETED:
                self._pods.pop(id, None)
                self._up.discard(id)
                await asyncio.to_thread(self._release, id, None)
            else:
                self._pods[id] = event.object
                self._look_at(id)

    async def _follow_configs(self) -> None:
        async for event in follow(self._store, _CONFIG_MAPS, clock=self._clock):
            self._note_config(event)

    def _note_config(self, event: Event) -> None:
        metadata = event.object["metadata"]
        service = service_of_config(metadata["name"])
        if not service:
            return
        key = (metadata["namespace"], service)
        if event.change is Change.DELETED:
            self._configs.pop(key, None)
        else:
            self._configs[key] = event.object
        for id, pod in self._pods.items():
            if (id.namespace, pod["metadata"]["labels"][_SERVICE_LABEL]) == key:
                if id in self._working:
                    self._working[id].set()
                self._look_at(id)

    def _look_at(self, id: PodId) -> None:
        """See to a pod, by one task at a time."""
        if id not in self._working and self._todo(id) != ([], []):
            self._working[id] = asyncio.Event()
            self._tasks.start(str(id), self._bring(id))

    def _todo(self, id: PodId) -> tuple[list[str], list[Wanted]]:
        """Return what is to be unloaded and loaded; nothing while the server does not answer."""
        pod = self._pods.get(id)
        if pod is None or pod["metadata"].get("deletionTimestamp"):
            return [], []
        if (get_condition(pod, "Ready") or {}).get("status") == "True":
            self._up.discard(id)
        elif id not in self._up:
            return [], []
        config = self._configs.get((id.namespace, pod["metadata"]["labels"][_SERVICE_LABEL]))
        return to_unload(pod, config), to_load(pod, config)

    async def _bring(self, id: PodId) -> None:
        """Load and unload until the pod has what it is to have; after failures it waits, unless that changes meanwhile."""
        pause, news = RETRY_SECONDS_MIN, self._working[id]
        try:
            while True:
                news.clear()
                gone, new = self._todo(id)
                if not gone and not new:
                    return
                done = [await self._unload(id, name) for name in gone]
                done += [await self._load(id, each) for each in new]
                if not all(done):
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(news.wait(), pause)
                    pause = min(2 * pause, RETRY_SECONDS_MAX)
        finally:
            del self._working[id]

    async def _load(self, id: PodId, wanted: Wanted) -> bool:
        """Load one model; return whether it is."""
        directory, pod = PodDirectory(self._folder, id), self._pods.get(id)
        if pod is None:
            return True
        run, error = run_of(pod), ""
        try:
            fetched = await fetch_another(pod, wanted.uri, directory, store=self._store, cache=self._cache, clock=self._clock)
            await asyncio.to_thread(self._cache.lease, fetched.digest, _holder(id, wanted.name))
            url = await asyncio.to_thread(_link, directory, wanted.name, fetched.path)
            await self._register(directory, wanted.name, url)
        except FlambeauError as failure:
            error = str(failure)
            _log.warning("pod %s: cannot load the TrainedModel %s: %s", id, wanted.name, error)
        await self._note(id, wanted.name, Loaded(wanted.uri, run, error))
        return not error

    async def _register(self, directory: PodDirectory, name: str, url: str) -> None:
        """Have the server load a model; one that it has under this name already (noted by nobody) makes way."""
        query = urlencode({"url": url, "model_name": name, "initial_workers": 1, "synchronous": "true"})
        answer = await self._ask(directory, "POST", f"/models?{query}")
        if answer.status == 409:
            await self._ask(directory, "DELETE", f"/models/{quote(name, safe='')}")
            answer = await self._ask(directory, "POST", f"/models?{query}")
        if answer.status != 200:
            raise Unavailable(f"the server answers {answer.status}: {_message(answer)}", reason="ModelLoadFailed")

    async def _unload(self, id: PodId, name: str) -> bool:
        """Have the server give up a model, and forget its files; return whether that went well."""
        directory = PodDirectory(self._folder, id)
        try:
            answer = await self._ask(directory, "DELETE", f"/models/{quote(name, safe='')}")
        except FlambeauError as error:
            _log.warning("pod %s: cannot unload the TrainedModel %s: %s", id, name, error)
            return False
        if answer.status not in (200, 404):
            _log.warning("pod %s: cannot unload the TrainedModel %s: the server answers %d: %s", id, name, answer.status, _message(answer))
            return False
        (directory.more_models / name).unlink(missing_ok=True)
        await asyncio.to_thread(self._release, id, name)
        await self._note(id, name, None)
        return True

    async def _ask(self, directory: PodDirectory, method: str, path: str) -> Answer:
        if directory.models_door.is_symlink() or not directory.models_door.exists():  # a link would be the pod's, and lead elsewhere
            raise Unavailable("the pod's server takes no models while it runs", reason="NotSupported")
        return await ask(directory.models_door, path, method=method, timeout_seconds=LOAD_SECONDS_MAX)

    async def _note(self, id: PodId, name: str, loaded: Loaded | None) -> None:
        """Write down what came of a model; None: it is gone."""

        def change(pod: Object) -> None:
            if pod["metadata"]["uid"] != id.uid:
                return
            known = {each: told for each, told in loaded_of(pod).items() if each != name}
            if loaded is not None:
                known[name] = loaded
            annotations = pod["metadata"].setdefault("annotations", {})
            annotations[LOADED_ANNOTATION] = loaded_text(known)

        try:
            pod = await modify(self._store, Key("pods", id.namespace, id.name), change)
        except NotFound:
            return
        if id in self._pods and pod["metadata"]["uid"] == id.uid:
            self._pods[id] = pod

    def _release(self, id: PodId, name: str | None) -> None:
        """Give back what a pod holds in the cache for one model, or for all. Blocks, on files."""
        mine = _holder(id, name or "")
        for digest, holders in self._cache.leases().items():
            for held in holders:
                if held == mine or (name is None and held.startswith(mine)):
                    self._cache.release(digest, held)


def _holder(id: PodId, name: str) -> str:
    return f"{_HOLDER_PREFIX}{id.uid}/{name}"


def _link(directory: PodDirectory, name: str, tree: Path) -> str:
    """Let a name in the pod's directory lead to a model; return where the server finds it: an archive in it, or the folder itself."""
    link = directory.more_models / name
    link.unlink(missing_ok=True)
    link.symlink_to(tree)
    archives = sorted((*tree.glob("*.mar"), *tree.glob("model-store/*.mar")))
    return str(Path(name, archives[0].relative_to(tree))) if len(archives) == 1 else name


def _message(answer: Answer) -> str:
    """Return what a server says about a failure, in one line."""
    try:
        told: Any = orjson.loads(answer.body)
    except orjson.JSONDecodeError:
        told = None
    message = find(told, "message") if isinstance(told, dict) else None
    return str(message or answer.body[:500].decode(errors="replace"))
