"""The seam: what controllers, agent and API server may ask of a store.

``sqlite.py`` keeps it on one machine; a later ``kube/`` puts a real cluster behind the same interface. Rules, as in Kubernetes:

- ``metadata.uid``, ``creationTimestamp``, ``resourceVersion`` and ``generation`` are the store's; what a caller says is overwritten.
- ``resourceVersion`` grows over the whole store, one step per write. A write that changes nothing is no write: same version, no event.
- ``generation`` grows when anything outside ``metadata`` and ``status`` changes.
- Objects handed out are copies: changing one changes nothing.
- An acknowledged write survives kill -9 at any later instant. What was wished for survives loss of power, too. A status and an event may
  not: they tell what was seen, and are seen again. Nor may what has a controlling owner: that makes it again.
- Deletion: with finalizers left, the object gets ``deletionTimestamp`` and goes when the last finalizer is removed by an update; without,
  it goes at once. When an object goes, those that name it in ``ownerReferences`` (by uid) are deleted the same way, in the same step.
  With the finalizer ``orphan`` it lets them go first: they lose the reference, and stay.
- A namespace that is deleted takes its objects with it. Creating in a namespace that isn't there, or is going, is refused.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from flambeau.control.resources.kind import Key, Object
from flambeau.foundation.errors import Conflict


class Change(StrEnum):
    """What happened to an object, in the words of the wire."""

    ADDED = "ADDED"
    MODIFIED = "MODIFIED"
    DELETED = "DELETED"


@dataclass(frozen=True, slots=True)
class Event:
    """One change. ``object`` is the new state (the last one, for DELETED), whose resourceVersion is the change's."""

    change: Change
    object: Object
    previous: Object | None = None
    """The state before, for watchers with selectors; None when ADDED."""


@dataclass(frozen=True, slots=True)
class Listing:
    """Objects of one kind, sorted by namespace and name, all as of one version of the store."""

    items: tuple[Object, ...]
    resource_version: int


class Store(Protocol):
    """Keep objects and tell who watches.

    All methods raise Unavailable when the disk refuses (full, read-only); nothing is half written then.
    """

    async def get(self, key: Key) -> Object:
        """Return the object.

        Raises:
            NotFound: there is none.
        """
        ...

    async def list(self, kind: str, namespace: str | None = None, *, owner: str | None = None) -> Listing:
        """Return all objects of a kind id, in one namespace or everywhere; with ``owner``, those that name this uid as an owner.

        What is owned is found by an index: it costs the same however many objects there are.
        """
        ...

    async def count(self, kind: str, namespace: str) -> int:
        """Return how many objects of a kind id a namespace has; none of them is read."""
        ...

    async def create(self, obj: Object) -> Object:
        """Write a new object; ``metadata.generateName`` gets five random characters appended.

        Raises:
            Conflict: reason AlreadyExists.
            NotFound: its namespace isn't there.
            InvalidInput: no such kind, or no name.
        """
        ...

    async def update(self, obj: Object, *, status: bool = False) -> Object:
        """Replace an object, or only its status.

        With ``metadata.resourceVersion`` set, the write happens only if that is still the current one; without, always.
        With ``status``, only ``.status`` is taken from ``obj``; without, ``.status`` is left as it is for kinds with a status.

        Raises:
            NotFound: it isn't there (or another one by that name is: the uid differs).
            Conflict: the version moved on.
        """
        ...

    async def delete(self, key: Key, *, uid: str | None = None, orphan: bool | None = None) -> Object:
        """Delete as the module says; return the object's last state (with deletionTimestamp while finalizers hold it).

        With ``orphan``, what it owns stays, without it; None: as its finalizers say.

        Raises:
            NotFound: it isn't there.
            Conflict: the uid given is not the object's.
        """
        ...

    def watch(self, kind: str, namespace: str | None = None, *, since: int) -> AbstractAsyncContextManager[AsyncIterator[Event]]:
        """Open a watch on changes after a version (of a listing, usually).

        The iterator yields every change once, in order. It raises Conflict with reason Expired when ``since`` is older than the history
        kept, or when the watcher fell too far behind: list again and watch from there.
        """
        ...


Modify = Callable[[Object], None]


async def modify(store: Store, key: Key, change: Modify, *, status: bool = False, attempts: int = 8) -> Object:
    """Read, change in place, write; again on a conflict, a bounded number of times.

    Raises:
        NotFound: the object is not there.
        Conflict: every attempt lost the race.
    """
    for attempt in range(attempts):
        obj = await store.get(key)
        change(obj)
        try:
            return await store.update(obj, status=status)
        except Conflict:
            if attempt == attempts - 1:
                raise
    raise AssertionError("unreachable")
