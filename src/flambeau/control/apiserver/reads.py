"""GET, LIST and WATCH over the store."""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass

from flambeau.control.apiserver import forms, selectors
from flambeau.control.apiserver.forms import Form
from flambeau.control.apiserver.paths import ResourcePath
from flambeau.control.apiserver.queries import ListQuery
from flambeau.control.apiserver.status import not_found
from flambeau.control.apiserver.watch import SECONDS_DEFAULT, SECONDS_MAX, WatchRequest
from flambeau.control.resources.kind import Key, Kind, Object
from flambeau.control.store.interface import Store
from flambeau.foundation.clock import Clock
from flambeau.foundation.errors import InvalidInput, NotAllowed, NotFound


@dataclass(frozen=True, slots=True)
class Target:
    """What a request is about: a kind's collection, or one object of it."""

    kind: Kind
    path: ResourcePath

    @property
    def namespace(self) -> str | None:
        """Return the namespace, or None for all of them (and for what has none)."""
        return self.path.namespace or None

    def key(self) -> Key:
        """Return the object's key.

        Raises:
            NotAllowed: the kind is in namespaces, and the path names none.
        """
        if self.kind.namespaced and not self.path.namespace:
            raise NotAllowed(f"objects of {self.kind.id} are reached only in a namespace")
        return Key(self.kind.id, self.path.namespace, self.path.name)


async def get(store: Store, target: Target) -> Object:
    """Return an object.

    Raises:
        NotFound: there is none; the text is Kubernetes' own.
    """
    try:
        return await store.get(target.key())
    except NotFound as error:
        raise not_found(target.kind, target.path.name) from error


async def list_objects(store: Store, target: Target, query: ListQuery, form: Form, clock: Clock) -> Object:
    """Return a collection, or the part of it that is asked for.

    A list that is continued shows the store as it is then: no old versions are kept for it.

    Raises:
        InvalidInput: a selector or the continue token can't be read.
    """
    selector = selectors.parse(target.kind, query.labels, query.fields)
    listing = await store.list(target.kind.id, target.namespace)
    items = [obj for obj in listing.items if selector.matches(obj)]
    if query.continue_from:
        after = _read_place(query.continue_from)
        items = [obj for obj in items if _place(obj) > after]
    metadata = {"resourceVersion": str(listing.resource_version)}
    if query.limit and len(items) > query.limit:
        remaining = len(items) - query.limit
        items = items[: query.limit]
        metadata |= {"continue": _write_place(_place(items[-1])), "remainingItemCount": remaining}  # type: ignore[dict-item]  # JSON
    return forms.render_list(form, target.kind, target.path.version, items, metadata, clock.wall())


def watch_request(target: Target, query: ListQuery, form: Form) -> WatchRequest:
    """Return what a watch query asks for.

    Raises:
        InvalidInput: a selector can't be read.
    """
    fields = query.fields
    if target.path.name:  # GET of one object with watch=true
        fields = ",".join(filter(None, (fields, f"metadata.name={target.path.name}")))
    seconds = float(query.timeout_seconds or SECONDS_DEFAULT)
    return WatchRequest(
        kind=target.kind,
        version=target.path.version,
        namespace=target.namespace,
        selector=selectors.parse(target.kind, query.labels, fields),
        form=form,
        since=None if query.initial_events else query.resource_version,
        seconds=min(seconds, SECONDS_MAX),
        bookmarks=query.bookmarks,
        initial_end=query.initial_events and query.bookmarks,
    )


_Place = tuple[str, str]


def _place(obj: Object) -> _Place:
    return obj["metadata"].get("namespace", ""), obj["metadata"]["name"]


def _write_place(place: _Place) -> str:
    return base64.urlsafe_b64encode("/".join(place).encode()).decode()


def _read_place(token: str) -> _Place:
    try:
        namespace, _, name = base64.b64decode(token, altchars=b"-_", validate=True).decode().partition("/")
    except (binascii.Error, ValueError) as error:
        raise InvalidInput("the continue token is not one of ours", hint="list again without it") from error
    return namespace, name
