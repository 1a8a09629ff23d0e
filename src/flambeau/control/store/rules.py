"""What a write makes of an object: versions, the status split, finalizers. Pure; called by ``sqlite.py``."""

from __future__ import annotations

import copy
from typing import Any

import orjson

from flambeau.control.resources.kind import Kind, Object
from flambeau.foundation.errors import InvalidInput, TooLarge
from flambeau.foundation.timestamps import rfc3339

DOCUMENT_BYTES_MAX = 3 * 1024 * 1024
"""One object, as JSON; twice what etcd takes."""
ORPHAN = "orphan"
"""Kubernetes' finalizer of an object whose dependents stay when it goes."""

_STORE_OWNED = (
    "uid",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "generation",
    "resourceVersion",
    "generateName",
)


def encode(obj: Object) -> bytes:
    """Return the one form of an object in the store: equal bytes, equal objects.

    Raises:
        InvalidInput: it isn't JSON (a number beyond 64 bits, a key that is no text).
        TooLarge: it is over ``DOCUMENT_BYTES_MAX``.
    """
    try:
        document = orjson.dumps(obj, option=orjson.OPT_SORT_KEYS)
    except TypeError as error:
        raise InvalidInput(f"cannot store the object: it is not JSON: {error}") from error
    if len(document) > DOCUMENT_BYTES_MAX:
        raise TooLarge(f"cannot store the object: it has {len(document)} bytes, the most is {DOCUMENT_BYTES_MAX}")
    return document


def decode(document: bytes) -> Object:
    """Return a fresh object, the caller's to change."""
    obj: Object = orjson.loads(document)
    return obj


def created(obj: Object, kind: Kind, *, name: str, uid: str, now: float) -> Object:
    """Return what a create stores, still without a resourceVersion."""
    new = copy.deepcopy(obj)
    metadata = new["metadata"]
    for field in _STORE_OWNED:
        if field != "generateName":
            metadata.pop(field, None)
    metadata.update(name=name, uid=uid, creationTimestamp=rfc3339(now), generation=1)
    return _in_storage_form(new, kind)


def updated(current: Object, obj: Object, kind: Kind, *, status: bool) -> Object:
    """Return what an update stores, still with the current resourceVersion.

    Args:
        current: the stored state.
        obj: what the caller wants; only its status counts with ``status``.
        kind: of both.
        status: whether the status is written, or everything else.

    Raises:
        InvalidInput: a finalizer is added to an object that is being deleted.
    """
    if status:
        new = copy.deepcopy(current)
        _take_status(new, obj)
        return new
    new = _in_storage_form(copy.deepcopy(obj), kind)
    metadata, old = new["metadata"], current["metadata"]
    for field in _STORE_OWNED:
        metadata.pop(field, None)
        if field in old:
            metadata[field] = old[field]
    if kind.has_status:
        _take_status(new, current)
    if "deletionTimestamp" in old:
        added = set(metadata.get("finalizers") or ()) - set(old.get("finalizers") or ())
        if added:
            raise InvalidInput(f"cannot add finalizers {', '.join(sorted(added))}: the object is being deleted")
    if _content(new) != _content(current):
        metadata["generation"] = old["generation"] + 1
    return new


def marked_for_deletion(current: Object, now: float) -> Object:
    """Return the object with its deletion noted; a namespace also says it is terminating.

    The finalizer ORPHAN is done with by then.
    """
    new = copy.deepcopy(current)
    if is_orphaning(current):
        new["metadata"]["finalizers"].remove(ORPHAN)
    new["metadata"].update(deletionTimestamp=rfc3339(now), deletionGracePeriodSeconds=0)
    if new["kind"] == "Namespace":
        new["status"] = {**(new.get("status") or {}), "phase": "Terminating"}
    return new


def is_being_deleted(obj: Object) -> bool:
    """Tell whether a deletion has been asked for."""
    return "deletionTimestamp" in obj["metadata"]


def is_held(obj: Object) -> bool:
    """Tell whether finalizers keep the object from going."""
    return bool(obj["metadata"].get("finalizers"))


def is_orphaning(obj: Object) -> bool:
    """Tell whether an object wants what it owns to stay when it goes."""
    return ORPHAN in (obj["metadata"].get("finalizers") or ())


def without_owner(obj: Object, uid: str) -> Object:
    """Return an object without its references to an owner."""
    new = copy.deepcopy(obj)
    metadata = new["metadata"]
    metadata["ownerReferences"] = [each for each in metadata["ownerReferences"] if each.get("uid") != uid]
    if not metadata["ownerReferences"]:
        del metadata["ownerReferences"]
    return new


def owner_uids(obj: Object) -> set[str]:
    """Return the uids of the object's owners."""
    references: list[Any] = obj["metadata"].get("ownerReferences") or []
    return {str(reference["uid"]) for reference in references if isinstance(reference, dict) and reference.get("uid")}


def has_controller(obj: Object) -> bool:
    """Tell whether another object controls this one."""
    references: list[Any] = obj["metadata"].get("ownerReferences") or []
    return any(isinstance(reference, dict) and reference.get("controller") is True for reference in references)


def _in_storage_form(obj: Object, kind: Kind) -> Object:
    """All served versions share one form; a cluster-scoped object has no namespace."""
    obj["apiVersion"] = kind.api_version
    if not kind.namespaced:
        obj["metadata"].pop("namespace", None)
    return obj


def _take_status(into: Object, source: Object) -> None:
    if "status" in source:
        into["status"] = copy.deepcopy(source["status"])
    else:
        into.pop("status", None)


def _content(obj: Object) -> bytes:
    """Return what ``generation`` counts."""
    return encode({name: value for name, value in obj.items() if name not in ("metadata", "status")})
