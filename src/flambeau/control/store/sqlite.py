"""The store of one machine: objects in SQLite, changes told to watchers.

Every call does its work without an await in between, so calls never interleave; a commit takes well under a millisecond, plus what the disk
takes to sync where something was wished for. The rules are those of ``interface.py``.
"""

from __future__ import annotations

import secrets
import uuid
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

from flambeau.control.resources.event import EVENT
from flambeau.control.resources.kind import Key, Kind, Object
from flambeau.control.resources.namespace import NAMESPACE
from flambeau.control.resources.registry import KINDS, Registry
from flambeau.control.store import rules
from flambeau.control.store.database import Database, Recorded
from flambeau.control.store.fanout import Watcher, Watchers, expired
from flambeau.control.store.interface import Change, Event, Listing
from flambeau.foundation.clock import Clock, SystemClock
from flambeau.foundation.errors import Conflict, InvalidInput, NotAllowed, NotFound, Unavailable

HISTORY_CHANGES_MAX = 5_000
"""Changes kept for watches that come back; at 10 KB each, 50 MB of disk."""

FIRST_VERSION = 1
"""Of an empty store: on the wire, ``0`` means something else."""

_Step = list[Recorded]
"""What one write step changed so far: committed together, then told."""

_SUFFIX_LETTERS = "bcdfghjklmnpqrstvwxz2456789"
_SUFFIX_CHARS = 5
_GENERATED_BASE_CHARS_MAX = 58
_GENERATE_ATTEMPTS = 8


class SqliteStore:
    """Keep objects in one file. Open it with ``SqliteStore.open``; use it from one event loop.

    Args:
        database: the opened file; the store closes it.
        kinds: what may be stored.
        clock: for creation and deletion times.
        history_changes_max: how many changes a watch can go back.
    """

    def __init__(self, database: Database, kinds: Registry, clock: Clock, history_changes_max: int) -> None:
        self._database = database
        self._kinds = kinds
        self._clock = clock
        self._history_changes_max = history_changes_max
        self._version = database.newest_version() or FIRST_VERSION
        self._watchers = Watchers()
        self._closed = False

    @classmethod
    def open(
        cls, path: Path, *, kinds: Registry = KINDS, clock: Clock | None = None, history_changes_max: int = HISTORY_CHANGES_MAX
    ) -> SqliteStore:
        """Open the file, or make it.

        Raises:
            Unavailable: another control plane uses it, it is damaged, or the disk refuses.
        """
        return cls(Database(path), kinds, clock or SystemClock(), history_changes_max)

    def close(self) -> None:
        """End all watches with Unavailable and let go of the file. May be called again."""
        if not self._closed:
            self._closed = True
            self._watchers.fail_all(Unavailable("the store is closed"))
            self._database.close()

    async def get(self, key: Key) -> Object:
        """Return the object; NotFound where there is none."""
        return self._current(key)

    async def list(self, kind: str, namespace: str | None = None, *, owner: str | None = None) -> Listing:
        """Return all objects of a kind id, in one namespace or everywhere, or those of one owner."""
        database, id = self._open_database, self._kinds.by_id(kind).id
        documents = database.documents(id, namespace) if owner is None else database.documents_of(owner, id, namespace)
        return Listing(tuple(rules.decode(document) for document in documents), self._version)

    async def count(self, kind: str, namespace: str) -> int:
        """Return how many objects of a kind id a namespace has."""
        return self._open_database.count(self._kinds.by_id(kind).id, namespace)

    async def create(self, obj: Object) -> Object:
        """Write a new object; see ``interface.Store.create``."""
        kind = self._kinds.by_object(obj)
        key = self._new_key(obj, kind)
        if self._open_database.document(key) is not None:
            raise Conflict(f'{kind.id} "{key.name}" already exists', reason="AlreadyExists")
        if kind.namespaced:
            self._check_namespace(key)
        new = rules.created(obj, kind, name=key.name, uid=str(uuid.uuid4()), now=self._clock.wall())
        self._check_owners(key, rules.owner_uids(new))
        with self._step(synced=_is_wish(kind, new)) as step:
            return self._write(step, key, new, previous=None)

    async def update(self, obj: Object, *, status: bool = False) -> Object:
        """Replace an object, or only its status; see ``interface.Store.update``."""
        kind = self._kinds.by_object(obj)
        if status and not kind.has_status:
            raise NotAllowed(f"{kind.kind} has no status to write")
        key = _named_key(obj, kind)
        current = self._current(key)
        _check_same_object(key, current, obj)
        new = rules.updated(current, obj, kind, status=status)
        if rules.encode(new) == rules.encode(current):
            return current
        self._check_owners(key, rules.owner_uids(new) - rules.owner_uids(current))
        with self._step(synced=not status and _is_wish(kind, new)) as step:
            if rules.is_being_deleted(new) and self._may_go(key, new):
                return self._remove(step, key, new)
            return self._write(step, key, new, previous=current)

    async def delete(self, key: Key, *, uid: str | None = None, orphan: bool | None = None) -> Object:
        """Delete an object, or ask its finalizers to; see ``interface.Store.delete``."""
        current = self._current(key)
        if uid is not None and uid != current["metadata"]["uid"]:
            raise Conflict(f"cannot delete {key}: its uid is {current['metadata']['uid']}, not {uid}")
        with self._step(synced=_is_wish(self._kinds.by_id(key.kind), current)) as step:
            return self._delete(step, key, current, orphan)

    @asynccontextmanager
    async def watch(self, kind: str, namespace: str | None = None, *, since: int) -> AsyncIterator[AsyncIterator[Event]]:
        """Open a watch; see ``interface.Store.watch``."""
        kind = self._kinds.by_id(kind).id
        since = max(since, FIRST_VERSION)
        oldest = self._open_database.oldest_version() or FIRST_VERSION + 1
        if oldest - 1 <= since <= self._version:
            watcher = Watcher(kind, namespace, self._database.changes(kind, namespace, since))
        else:
            watcher = Watcher(kind, namespace, ())
            watcher.fail(expired(f"version {since} is not in the history, which goes from {oldest - 1} to {self._version}"))
        self._watchers.add(watcher)
        try:
            yield watcher
        finally:
            self._watchers.discard(watcher)

    # -- one write step: everything in it is committed together, then told --

    @contextmanager
    def _step(self, *, synced: bool) -> Iterator[_Step]:
        step: _Step = []
        with self._open_database.transaction(synced=synced):
            yield step
            self._database.forget_until(self._version + len(step) - self._history_changes_max)
        self._version += len(step)
        self._watchers.publish(step)

    def _record(self, step: _Step, change: Change, key: Key, obj: Object, previous: Object | None) -> Object:
        """Give the object its version and note the change."""
        version = self._version + len(step) + 1
        obj["metadata"]["resourceVersion"] = str(version)
        before = None if previous is None else rules.encode(previous)
        recorded = Recorded(version, change.value, key.kind, key.namespace, rules.encode(obj), before)
        self._database.record(recorded)
        step.append(recorded)
        return obj

    def _write(self, step: _Step, key: Key, new: Object, previous: Object | None) -> Object:
        change = Change.ADDED if previous is None else Change.MODIFIED
        new = self._record(step, change, key, new, previous)
        self._database.put(key, new["metadata"]["uid"], step[-1].document, rules.owner_uids(new))
        return new

    def _delete(self, step: _Step, key: Key, current: Object, orphan: bool | None = None) -> Object:
        """Remove the object if nothing holds it; else note that it shall go, once."""
        if rules.is_orphaning(current) if orphan is None else orphan:
            self._orphan_each(step, current["metadata"]["uid"])
        if not rules.is_being_deleted(current):
            marked = rules.marked_for_deletion(current, self._clock.wall())
            if self._may_go(key, marked):
                return self._remove(step, key, marked)
            current = self._write(step, key, marked, previous=current)
            if key.kind == NAMESPACE.id:
                self._delete_each(step, self._database.keys_in(key.name))
        return current

    def _may_go(self, key: Key, obj: Object) -> bool:
        return not rules.is_held(obj) and (key.kind != NAMESPACE.id or self._database.is_empty(key.name))

    def _remove(self, step: _Step, key: Key, last: Object) -> Object:
        """Take the object out, then what it owned, then its namespace if that was waiting for it."""
        previous = self._find(key)
        self._database.remove(key)
        last = self._record(step, Change.DELETED, key, last, previous)
        self._delete_each(step, self._database.dependents(last["metadata"]["uid"]))
        if key.namespace:
            namespace_key = Key(NAMESPACE.id, "", key.namespace)
            namespace = self._find(namespace_key)
            if namespace is not None and rules.is_being_deleted(namespace) and self._may_go(namespace_key, namespace):
                self._remove(step, namespace_key, namespace)
        return last

    def _delete_each(self, step: _Step, keys: Iterable[Key]) -> None:
        for key in keys:
            current = self._find(key)  # an earlier one may have taken it along
            if current is not None:
                self._delete(step, key, current)

    def _orphan_each(self, step: _Step, uid: str) -> None:
        """Take an owner's references off all that it owns."""
        for key in self._database.dependents(uid):
            owned = self._current(key)
            self._write(step, key, rules.without_owner(owned, uid), previous=owned)

    # -- reading and checking --

    @property
    def _open_database(self) -> Database:
        if self._closed:
            raise Unavailable("the store is closed")
        return self._database

    def _find(self, key: Key) -> Object | None:
        document = self._open_database.document(key)
        return None if document is None else rules.decode(document)

    def _current(self, key: Key) -> Object:
        obj = self._find(key)
        if obj is None:
            raise NotFound(f'{key.kind} "{key.name}" not found')
        return obj

    def _new_key(self, obj: Object, kind: Kind) -> Key:
        """Return the key of an object to be created, with a name made up where it asks for that."""
        metadata = obj.get("metadata")
        base = metadata.get("generateName") if isinstance(metadata, dict) and not metadata.get("name") else None
        if not base:
            return _named_key(obj, kind)
        for _ in range(_GENERATE_ATTEMPTS):
            suffix = "".join(secrets.choice(_SUFFIX_LETTERS) for _ in range(_SUFFIX_CHARS))
            key = _named_key({**obj, "metadata": {**obj["metadata"], "name": str(base)[:_GENERATED_BASE_CHARS_MAX] + suffix}}, kind)
            if self._open_database.document(key) is None:
                return key
        raise Conflict(f"cannot make a name from {base}: {_GENERATE_ATTEMPTS} in a row were taken", reason="AlreadyExists")

    def _check_namespace(self, key: Key) -> None:
        namespace = self._find(Key(NAMESPACE.id, "", key.namespace))
        if namespace is None:
            raise NotFound(f'namespaces "{key.namespace}" not found', hint=f"kubectl create namespace {key.namespace}")
        if rules.is_being_deleted(namespace):
            raise NotFound(f"cannot create {key}: namespace {key.namespace} is being deleted", hint="try again when it has gone")

    def _check_owners(self, key: Key, uids: set[str]) -> None:
        """An owner that has gone already would never take this object along."""
        for uid in uids:
            if not self._open_database.has_uid(uid):
                raise NotFound(f"cannot write {key}: its owner with uid {uid} is not there")


def _is_wish(kind: Kind, obj: Object) -> bool:
    """Tell whether somebody wished for an object: what is told, or made by a controller for its owner, comes again without a wish."""
    return kind is not EVENT and not rules.has_controller(obj)


def _named_key(obj: Object, kind: Kind) -> Key:
    metadata = obj.get("metadata")
    if not isinstance(metadata, dict) or not isinstance(metadata.get("name"), str) or not metadata["name"]:
        raise InvalidInput(f"the {kind.kind} has no name", hint="say metadata.name or metadata.generateName")
    if kind.namespaced and not (isinstance(metadata.get("namespace"), str) and metadata["namespace"]):
        raise InvalidInput(f"{kind.kind} {metadata['name']} has no namespace", hint="say metadata.namespace")
    return kind.key(obj)


def _check_same_object(key: Key, current: Object, wanted: Object) -> None:
    uid, version = wanted["metadata"].get("uid"), wanted["metadata"].get("resourceVersion")
    if uid and uid != current["metadata"]["uid"]:
        raise NotFound(f'{key.kind} "{key.name}" with uid {uid} not found: another one has its name')
    if version and str(version) != current["metadata"]["resourceVersion"]:
        raise Conflict(
            f'cannot write {key.kind} "{key.name}": version {version} is not the newest, which is {current["metadata"]["resourceVersion"]}',
            hint="read it again, change that, and write",
        )
