"""POST, PUT, PATCH and DELETE over the store: decode, admit, note who owns what, write."""

from __future__ import annotations

import copy
import uuid
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from flambeau.control.apiserver import apply, codecs, ownership, patch
from flambeau.control.apiserver.codecs import Decoded
from flambeau.control.apiserver.queries import WriteQuery
from flambeau.control.apiserver.reads import Target, get
from flambeau.control.apiserver.status import InvalidObject
from flambeau.control.resources.admission import BUILT_IN_LABEL, review
from flambeau.control.resources.cluster_storage_container import CLUSTER_STORAGE_CONTAINER, UNKNOWN_SCHEME, supports
from flambeau.control.resources.inference_service import INFERENCE_SERVICE
from flambeau.control.resources.kind import Finding, Key, Object
from flambeau.control.resources.namespace import NAMESPACE
from flambeau.control.resources.schema import UNKNOWN_FIELD
from flambeau.control.store import rules
from flambeau.control.store.interface import Store
from flambeau.foundation.clock import Clock, rfc3339
from flambeau.foundation.errors import Conflict, Denied, InvalidInput, NotAllowed, NotFound

ATTEMPTS_MAX = 8
"""Times that a patch is computed anew because somebody else wrote in between."""

_POLICIES = ("Orphan", "Background", "Foreground")
_KEPT_NAMESPACES = ("default", "kube-system")
_UNKNOWN = "unknown field "


@dataclass(frozen=True, slots=True)
class Written:
    """What a write left in the store (or would have, in a dry run)."""

    obj: Object
    created: bool = False
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class DeleteOptions:
    """What a DELETE says besides the path."""

    uid: str | None = None
    resource_version: str | None = None
    orphan: bool | None = None
    """Whether what it owns stays; None: as its finalizers say."""

    @classmethod
    def parse(cls, value: Any) -> DeleteOptions:
        """Return the options in a body, which may be empty.

        Raises:
            InvalidInput: they aren't DeleteOptions, or ask for what isn't done here.
        """
        if value is None:
            return cls()
        if not isinstance(value, dict):
            raise InvalidInput("the body of a DELETE must be DeleteOptions")
        policy, orphan = value.get("propagationPolicy") or None, value.get("orphanDependents")
        if policy not in (None, *_POLICIES):
            raise InvalidInput(f"cannot delete with propagationPolicy {policy!r}", hint=f"it is one of {', '.join(_POLICIES)}")
        if not isinstance(orphan, bool | None) or (policy is not None and orphan is not None):
            raise InvalidInput("orphanDependents of the DeleteOptions is true or false, and not beside a propagationPolicy")
        conditions = value.get("preconditions") or {}
        if not isinstance(conditions, dict) or not all(isinstance(item, str | None) for item in conditions.values()):
            raise InvalidInput("preconditions of the DeleteOptions must be an object of strings")
        orphan = policy == "Orphan" if policy is not None else orphan
        return cls(conditions.get("uid") or None, conditions.get("resourceVersion") or None, orphan)


class Writer:
    """Write what users send.

    Args:
        store: where to.
        clock: for the times in ``managedFields``.
    """

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    async def create(self, target: Target, body: Decoded, query: WriteQuery) -> Written:
        """Write a new object.

        Raises:
            InvalidInput: it is wrong; an InvalidObject says where.
            Conflict: there is one by that name.
            NotFound: its namespace isn't there.
        """
        target.key()  # a namespaced kind needs one in the path
        obj = _as_object(target, body.value)
        warnings = await self._admit(target, obj, None, body.duplicates, query)
        ownership.write(obj, ownership.after_update((), {}, obj, query.field_manager, self._now()))
        created = await self._pretend_create(target, obj) if query.dry_run else await self._store.create(obj)
        return Written(created, True, warnings)

    async def replace(self, target: Target, body: Decoded, query: WriteQuery) -> Written:
        """Write an object, or its status, over the one there is.

        Raises:
            NotFound: there is none.
            Conflict: it says a resourceVersion, and the object has moved on.
        """
        old = await get(self._store, target)
        obj = _as_object(target, body.value)
        return await self._update(target, old, obj, body.duplicates, query)

    async def patch(self, target: Target, media_type: str, body: Decoded, query: WriteQuery) -> Written:
        """Change an object, or its status; an apply patch makes it if it isn't there.

        Raises:
            InvalidInput: the patch can't be applied, or what it makes is wrong.
            NotFound: there is no such object.
            Conflict: it names a resourceVersion that has passed, or every attempt lost the race.
        """
        if media_type == codecs.APPLY_PATCH:
            return await self._apply(target, body, query)
        wanted, what = (list, "a list of operations") if media_type == codecs.JSON_PATCH else (dict, "an object")
        if not isinstance(body.value, wanted):
            raise InvalidInput(f"a patch of type {media_type} must be {what}")
        change = {codecs.JSON_PATCH: patch.json_patch, codecs.MERGE_PATCH: patch.merge, codecs.STRATEGIC_PATCH: patch.strategic}[media_type]

        async def attempt() -> Written:
            old = await get(self._store, target)
            changed = change(_in_request_version(target, old), body.value)
            if not isinstance(changed, dict):
                raise InvalidInput("the patch leaves no object")
            return await self._update(target, old, _as_object(target, changed), body.duplicates, query)

        return await self._again_on_conflict(attempt, names_version=_names_version(body.value))

    async def _apply(self, target: Target, body: Decoded, query: WriteQuery) -> Written:
        config = _as_object(target, body.value)
        if config["metadata"].get("managedFields"):
            raise InvalidInput("metadata.managedFields must be nil in an apply patch")
        _settle_name(target, config["metadata"])

        async def attempt() -> Written:
            try:
                old = await get(self._store, target)
            except NotFound:
                if target.path.subresource or config["metadata"].get("uid"):
                    raise
                return await self._apply_new(target, config, body.duplicates, query)
            if target.path.subresource:
                return await self._update(target, old, apply.merge_only(old, config), body.duplicates, query)
            applied = apply.apply(_in_request_version(target, old), config, query.field_manager, self._now(), force=query.force)
            return await self._update(target, old, applied.obj, body.duplicates, query, applied.owners)

        return await self._again_on_conflict(attempt, names_version="resourceVersion" in config["metadata"])

    async def _apply_new(self, target: Target, config: Object, duplicates: tuple[str, ...], query: WriteQuery) -> Written:
        applied = apply.apply({}, config, query.field_manager, self._now(), force=True)
        obj = applied.obj
        warnings = await self._admit(target, obj, None, duplicates, query)
        ownership.write(obj, applied.owners)
        created = await self._pretend_create(target, obj) if query.dry_run else await self._store.create(obj)
        return Written(created, True, warnings)

    async def _update(
        self,
        target: Target,
        old: Object,
        new: Object,
        duplicates: tuple[str, ...],
        query: WriteQuery,
        owners: tuple[ownership.Owner, ...] | None = None,
    ) -> Written:
        """Admit and write the new state of an object, or only its status; no owners given, they follow from what changed."""
        kind = target.kind
        _settle_name(target, new["metadata"])
        if query.dry_run:
            _check_version(target, old, new)
        if target.path.subresource == "status":
            if not isinstance(new.get("status", {}), dict):
                raise InvalidInput(f"status of the {kind.kind} must be an object")
            updated = rules.updated(old, new, kind, status=True) if query.dry_run else await self._store.update(new, status=True)
            return Written(updated)
        if kind.has_status:
            _take_status(new, old)
        warnings = await self._admit(target, new, old, duplicates, query)
        if owners is None:
            before = ownership.read(new if "managedFields" in new["metadata"] else old)
            owners = ownership.after_update(before, _in_request_version(target, old), new, query.field_manager, self._now())
        ownership.write(new, owners)
        if query.dry_run:
            return Written(rules.updated(old, new, kind, status=False), warnings=warnings)
        return Written(await self._store.update(new), warnings=warnings)

    async def _again_on_conflict(self, attempt: Callable[[], Awaitable[Written]], *, names_version: bool) -> Written:
        for number in range(ATTEMPTS_MAX):
            try:
                return await attempt()
            except Conflict as error:
                if names_version or isinstance(error, apply.ApplyConflict) or number == ATTEMPTS_MAX - 1:
                    raise
        raise AssertionError("unreachable")

    async def _admit(
        self, target: Target, obj: Object, old: Object | None, duplicates: tuple[str, ...], query: WriteQuery
    ) -> tuple[str, ...]:
        """Default and check an object in place; return warnings."""
        is_service = target.kind is INFERENCE_SERVICE
        fetchers = (await self._store.list(CLUSTER_STORAGE_CONTAINER.id)).items if is_service else []
        warnings = _admit(target, obj, old, duplicates, query, fetchers)
        if target.kind.check_among is not None:
            name = str(obj["metadata"].get("name") or "")
            listed = (await self._store.list(target.kind.id, target.path.namespace)).items
            errors = tuple(target.kind.check_among(obj, [each for each in listed if each["metadata"]["name"] != name]))
            if errors:
                raise InvalidObject(target.kind, name, errors)
        return warnings

    async def _pretend_create(self, target: Target, obj: Object) -> Object:
        """Return what a create would store, with the refusals it would have."""
        kind, metadata = target.kind, obj["metadata"]
        if target.path.namespace:
            await self._store.get(Key(NAMESPACE.id, "", target.path.namespace))
        name = metadata.get("name") or f"{metadata['generateName']}xxxxx"
        try:
            await self._store.get(Key(kind.id, target.path.namespace, name))
        except NotFound:
            return rules.created(obj, kind, name=name, uid=str(uuid.uuid4()), now=self._clock.wall())
        raise Conflict(f'{kind.id} "{name}" already exists', reason="AlreadyExists")

    async def delete(self, target: Target, options: DeleteOptions, *, dry_run: bool) -> tuple[Object, bool]:
        """Delete an object, with all that it owns unless that is to stay.

        Returns:
            its last state, and whether it is gone (or stays until its finalizers are done).

        Raises:
            NotFound: it isn't there.
            Conflict: a precondition doesn't hold.
            Denied: it is one that must stay.
            NotAllowed: it is its owner's.
        """
        kind, key = target.kind, target.key()
        old = await get(self._store, target)
        if (kind.id == NAMESPACE.id and key.name in _KEPT_NAMESPACES) or BUILT_IN_LABEL in (old["metadata"].get("labels") or {}):
            raise Denied(f'{kind.id} "{key.name}" is forbidden: it is built in and cannot be deleted')
        if kind.read_only and old["metadata"].get("ownerReferences"):
            raise NotAllowed(f"{kind.id} is read-only", hint=kind.instead_of_writing or "delete the object that owns it")
        version = options.resource_version
        if version is not None and version != old["metadata"]["resourceVersion"]:
            raise Conflict(f"cannot delete {key}: its resourceVersion is {old['metadata']['resourceVersion']}, not {version}")
        if dry_run:
            return old, True
        last = await self._store.delete(key, uid=options.uid, orphan=options.orphan)
        try:
            now_there = await self._store.get(key)
        except NotFound:
            return last, True
        return now_there, now_there["metadata"]["uid"] != last["metadata"]["uid"]

    def _now(self) -> str:
        return rfc3339(self._clock.wall())


def _in_request_version(target: Target, obj: Object) -> Object:
    """Return a copy of a stored object in the version of the request."""
    copied = copy.deepcopy(obj)
    copied["apiVersion"] = _api_version(target)
    return copied


def _api_version(target: Target) -> str:
    return f"{target.path.group}/{target.path.version}" if target.path.group else target.path.version


def _as_object(target: Target, value: Any) -> Object:
    """Return a body as an object of the target's kind and namespace.

    Raises:
        InvalidInput: it is none.
    """
    kind, wanted = target.kind, _api_version(target)
    if not isinstance(value, dict):
        raise InvalidInput(f"the body must be a {kind.kind}, in JSON or YAML")
    obj: Object = dict(value)
    for field, right in (("apiVersion", wanted), ("kind", kind.kind)):
        if obj.setdefault(field, right) != right:
            raise InvalidInput(f"the {field} of the object ({obj[field]}) does not match the one on the URL ({right})")
    if obj.get("metadata") is None:
        obj["metadata"] = {}
    if not isinstance(obj["metadata"], dict):
        raise InvalidInput(f"metadata of the {kind.kind} must be an object")
    obj["metadata"] = dict(obj["metadata"])
    _settle_namespace(target, obj["metadata"])
    return obj


def _settle_name(target: Target, metadata: dict[str, Any]) -> None:
    if metadata.setdefault("name", target.path.name) != target.path.name:
        raise InvalidInput(f"the name of the object ({metadata['name']}) does not match the name on the URL ({target.path.name})")


def _check_version(target: Target, old: Object, new: Object) -> None:
    """Refuse in a dry run what the store would refuse in a real one."""
    version, current = new["metadata"].get("resourceVersion"), old["metadata"]["resourceVersion"]
    if version and version != current:
        raise Conflict(f'cannot write {target.kind.id} "{target.path.name}": version {version} is not the newest, which is {current}')


def _settle_namespace(target: Target, metadata: dict[str, Any]) -> None:
    if not target.kind.namespaced:
        metadata.pop("namespace", None)
        return
    if (metadata.get("namespace") or target.path.namespace) != target.path.namespace:
        raise InvalidInput(
            f"the namespace of the object ({metadata['namespace']}) does not match the namespace on the URL ({target.path.namespace})"
        )
    metadata["namespace"] = target.path.namespace


def _take_status(new: Object, old: Object) -> None:
    new.pop("status", None)
    if "status" in old:
        new["status"] = copy.deepcopy(old["status"])


def _admit(
    target: Target,
    obj: Object,
    old: Object | None,
    duplicates: tuple[str, ...],
    query: WriteQuery,
    fetchers: Sequence[Object],
) -> tuple[str, ...]:
    """Default and check an object in place; return warnings.

    Args:
        target: its kind and place.
        obj: what is wanted.
        old: what is stored, or None at creation.
        duplicates: fields that the body has twice.
        query: how strict to be.
        fetchers: ClusterStorageContainers, whose URIs are accepted as well.

    Raises:
        InvalidInput: a field is unknown or duplicate, and the client wants that refused (400).
        InvalidObject: a value is wrong (422).
    """
    kind, strict = target.kind, query.field_validation == "Strict"
    found = review(kind, obj, old, strict)
    twice = tuple(f'duplicate field "{path}"' for path in duplicates)
    unknown = tuple(finding.message for finding in found.errors if finding.reason == UNKNOWN_FIELD)
    if strict and (unknown or twice):
        intro = f'{kind.kind} in version "{target.path.version}" cannot be handled as a {kind.kind}'
        raise InvalidInput(f"{intro}: strict decoding error: {', '.join((*unknown, *twice))}")
    errors: tuple[Finding, ...] = tuple(finding for finding in found.errors if not _is_waived(finding, fetchers))
    if errors:
        metadata = obj["metadata"]
        raise InvalidObject(kind, str(metadata.get("name") or metadata.get("generateName") or ""), errors)
    if query.field_validation == "Ignore":
        return tuple(text for text in found.warnings if not text.startswith(_UNKNOWN))
    return (*found.warnings, *twice)


def _is_waived(finding: Finding, fetchers: Sequence[Object]) -> bool:
    """Tell whether a finding has been dealt with, or is about a URI that a ClusterStorageContainer fetches."""
    return finding.reason == UNKNOWN_FIELD or (
        finding.reason == UNKNOWN_SCHEME and any(supports(fetcher, str(finding.value)) for fetcher in fetchers)
    )


def _names_version(body: Any) -> bool:
    """Tell whether a patch insists on a version of the object."""
    if isinstance(body, list):
        return any(isinstance(item, dict) and item.get("path") == "/metadata/resourceVersion" for item in body)
    metadata = body.get("metadata")
    return isinstance(metadata, dict) and bool(metadata.get("resourceVersion"))
