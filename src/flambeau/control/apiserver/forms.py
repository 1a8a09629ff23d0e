"""Which form of an answer the client takes, and objects and lists in that form. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any

from flambeau.control.apiserver import table
from flambeau.control.apiserver.status import NotAcceptable
from flambeau.control.resources.kind import Kind, Object
from flambeau.foundation.errors import InvalidInput


class Shape(Enum):
    """What stands in an answer."""

    OBJECT = auto()
    TABLE = auto()
    METADATA = auto()


@dataclass(frozen=True, slots=True)
class Form:
    """What the client asked for."""

    shape: Shape = Shape.OBJECT
    meta_version: str = "v1"
    """Of meta.k8s.io, for Tables and PartialObjectMetadata."""
    include: str = "Metadata"
    """What a Table's row carries besides its cells."""


_SHAPES = {"Table": Shape.TABLE, "PartialObjectMetadata": Shape.METADATA, "PartialObjectMetadataList": Shape.METADATA}
_META_VERSIONS = ("v1", "v1beta1")
_INCLUDES = ("None", "Metadata", "Object")


def negotiate(accept: str, include: str) -> Form:
    """Return the first form in an Accept header that can be written.

    Args:
        accept: the header; empty takes anything.
        include: the query's ``includeObject``, or empty.

    Raises:
        NotAcceptable: the client takes none of ours.
        InvalidInput: ``include`` is none of Kubernetes' words.
    """
    if include and include not in _INCLUDES:
        raise InvalidInput(f"invalid includeObject {include!r}", hint=f"one of {', '.join(_INCLUDES)}")
    for media_range in (accept or "*/*").split(","):
        name, *parameters = (part.strip() for part in media_range.split(";"))
        if name.lower() not in ("application/json", "application/*", "*/*"):
            continue
        given = dict(parameter.partition("=")[::2] for parameter in parameters)
        if "as" not in given:
            return Form()
        if given["as"] in _SHAPES and given.get("g") == "meta.k8s.io" and given.get("v") in _META_VERSIONS:
            return Form(_SHAPES[given["as"]], given["v"], include or "Metadata")
    raise NotAcceptable(f"cannot answer in any of {accept}", hint="take application/json")


def in_version(kind: Kind, version: str, obj: Object) -> Object:
    """Return an object as one of its kind's versions."""
    return {**kind.shown(obj, version), **type_of(kind, version)}


def type_of(kind: Kind, version: str) -> Object:
    """Return the two fields that say what an object is."""
    return {"apiVersion": f"{kind.group}/{version}" if kind.group else version, "kind": kind.kind}


def render_object(form: Form, kind: Kind, version: str, obj: Object, now: float) -> Object:
    """Return an object as the client asked for it."""
    return render_change(form, kind, version, obj, now, head=True)


def render_change(form: Form, kind: Kind, version: str, obj: Object, now: float, *, head: bool) -> Object:
    """Return an object of a watch; a Table's columns are described only with ``head``."""
    obj = in_version(kind, version, obj)
    if form.shape is Shape.METADATA:
        return table.partial_metadata(obj, f"meta.k8s.io/{form.meta_version}")
    if form.shape is Shape.TABLE:
        metadata = {"resourceVersion": obj["metadata"].get("resourceVersion", "")}
        return table.table(kind, [obj], now, meta_version=form.meta_version, metadata=metadata, include=form.include, head=head)
    return obj


def render_list(form: Form, kind: Kind, version: str, objects: Sequence[Object], metadata: dict[str, Any], now: float) -> Object:
    """Return a list as the client asked for it.

    Args:
        metadata: the list's own: resourceVersion, and where it was cut.
    """
    items = [in_version(kind, version, obj) for obj in objects]
    meta_api_version = f"meta.k8s.io/{form.meta_version}"
    if form.shape is Shape.TABLE:
        return table.table(kind, items, now, meta_version=form.meta_version, metadata=metadata, include=form.include)
    if form.shape is Shape.METADATA:
        partial = [table.partial_metadata(obj, meta_api_version) for obj in items]
        return {"kind": "PartialObjectMetadataList", "apiVersion": meta_api_version, "metadata": metadata, "items": partial}
    api_version = f"{kind.group}/{version}" if kind.group else version
    return {"kind": f"{kind.kind}List", "apiVersion": api_version, "metadata": metadata, "items": items}
