"""Event: what happened to an object; ``events.py`` makes them."""

from __future__ import annotations

from flambeau.control.resources.age import since
from flambeau.control.resources.fields.words import ANYTHING, INT32, STRING, an_object, fields
from flambeau.control.resources.kind import NAME_COLUMN, Column, Kind, Object
from flambeau.control.resources.lookup import find
from flambeau.control.resources.object_schema import object_schema

_REFERENCE = an_object(fields("apiVersion", "kind", "namespace", "name", "uid", "resourceVersion", "fieldPath", of=STRING))
_SCHEMA = {
    **fields("action", "message", "reason", "reportingComponent", "reportingInstance", "type", of=STRING),
    **fields("eventTime", "firstTimestamp", "lastTimestamp", of=STRING),
    **fields("involvedObject", "related", of=_REFERENCE),
    "count": INT32,
    "series": ANYTHING,
    "source": an_object({"component": STRING, "host": STRING}),
}


def _last_seen(obj: Object, now: float) -> str:
    return since(obj.get("lastTimestamp") or obj.get("eventTime") or find(obj, "metadata", "creationTimestamp"), now)


def _first_seen(obj: Object, now: float) -> str:
    return since(obj.get("firstTimestamp") or obj.get("eventTime"), now)


def _involved(obj: Object, _: float) -> str:
    kind, name = find(obj, "involvedObject", "kind") or "", find(obj, "involvedObject", "name") or ""
    return f"{str(kind).lower()}/{name}" if name else str(kind).lower()


def _source(obj: Object, _: float) -> str:
    component, host = find(obj, "source", "component") or obj.get("reportingComponent") or "", find(obj, "source", "host")
    return f"{component}, {host}" if host else str(component)


EVENT = Kind(
    group="",
    versions=("v1",),
    kind="Event",
    plural="events",
    singular="event",
    short_names=("ev",),
    columns=(
        Column("Last Seen", _last_seen),
        Column("Type", lambda obj, _: obj.get("type")),
        Column("Reason", lambda obj, _: obj.get("reason")),
        Column("Object", _involved),
        Column("Subobject", lambda obj, _: find(obj, "involvedObject", "fieldPath"), wide=True),
        Column("Source", _source, wide=True),
        Column("Message", lambda obj, _: str(obj.get("message") or "").strip()),
        Column("First Seen", _first_seen, wide=True),
        Column("Count", lambda obj, _: obj.get("count"), type="integer", wide=True),
        Column(NAME_COLUMN.name, NAME_COLUMN.cell, wide=True),
    ),
    schema=object_schema(_SCHEMA),
    has_status=False,
)
