"""Keep a revision's pods: as many as it should have, none of them ended, and tell how they stand."""

from __future__ import annotations

from flambeau.control.controllers.loop import Controller, itself, owner
from flambeau.control.controllers.names import POD_AUTOSCALERS, PODS, REVISIONS
from flambeau.control.controllers.revision.desired import changes, pod_for, replicas
from flambeau.control.controllers.revision.status import revision_status
from flambeau.control.controllers.turns import Turns
from flambeau.control.resources.conditions import get_condition
from flambeau.control.resources.kind import Key, Object
from flambeau.control.store.interface import Store
from flambeau.control.store.recorder import record_event
from flambeau.foundation.clock import Clock
from flambeau.foundation.errors import Conflict, NotFound

NAME = "revision-controller"


class RevisionReconciler:
    """Hold what reconciling needs.

    Args:
        store: where everything is.
        clock: for conditions and events.
    """

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    def controller(self, turns: Turns) -> Controller:
        """Return the controller that keeps all Revisions."""
        sources = (itself(REVISIONS), owner(PODS, "Revision", REVISIONS), owner(POD_AUTOSCALERS, "Revision", REVISIONS))
        return Controller(NAME, self._store, self._clock, sources, self.reconcile, turns)

    async def reconcile(self, key: Key) -> None:
        """Bring one revision's pods closer to what they should be.

        Raises:
            FlambeauError: the store refused; everything can be done again.
        """
        try:
            revision = await self._store.get(key)
        except NotFound:
            return
        if revision["metadata"].get("deletionTimestamp"):
            return
        pods = await self._pods(revision)
        wanted = replicas(revision, await self._autoscaler(key))
        todo = changes(wanted, pods)
        for name in todo.delete:
            await self._delete(Key(PODS, key.namespace, name))
        for _ in range(todo.create):
            await self._store.create(pod_for(revision))
        if todo.delete or todo.create:
            pods = await self._pods(revision)
        await self._write_status(revision, pods, wanted)

    async def _autoscaler(self, key: Key) -> Object | None:
        try:
            return await self._store.get(Key(POD_AUTOSCALERS, key.namespace, key.name))
        except NotFound:
            return None

    async def _pods(self, revision: Object) -> list[Object]:
        metadata = revision["metadata"]
        return list((await self._store.list(PODS, metadata["namespace"], owner=metadata["uid"])).items)

    async def _delete(self, key: Key) -> None:
        try:
            await self._store.delete(key)
        except (NotFound, Conflict):
            return

    async def _write_status(self, revision: Object, pods: list[Object], wanted: int) -> None:
        status = revision_status(revision, pods, wanted, self._clock.wall())
        if status == revision.get("status"):
            return
        await self._store.update({**revision, "status": status}, status=True)
        was, now = get_condition(revision, "Ready") or {}, get_condition({"status": status}, "Ready") or {}
        if now.get("status") == "True" != was.get("status"):
            message = f"revision {revision['metadata']['name']} is ready"
            await record_event(self._store, self._clock, revision, "Normal", "RevisionReady", message, NAME)
        elif now.get("status") == "False" and now.get("message") != was.get("message"):
            message = str(now.get("message") or now.get("reason"))
            await record_event(self._store, self._clock, revision, "Warning", "RevisionFailed", message, NAME)
