"""``flambeau describe``: one object, what its conditions say, and what happened to it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from flambeau.cli import show
from flambeau.cli.api import Api
from flambeau.cli.target import HERE, Target
from flambeau.control.resources.age import since
from flambeau.foundation.errors import NotFound

_HIDDEN_METADATA = {"managedFields", "uid", "resourceVersion", "name", "namespace", "labels", "annotations"}
_LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"


def describe(what: str, /, *names: str, target: Target = HERE) -> int:
    """Show objects in full, with their events.

    Parameters
    ----------
    what
        Kind, such as `isvc`, or `kind/name`.
    names
        The objects, such as `describe isvc mnist-torchserve`; all of the kind when left out.
    """
    if "/" in what:
        what, _, name = what.partition("/")
        names = (name, *names)
    with target.open() as api:
        kind = api.type_named(what)
        if names:
            objects = [api.get(kind.path(api.namespace, name)) for name in names]
        else:
            objects = [{"kind": kind.kind, **item} for item in api.get(kind.path(api.namespace))["items"]]
        if not objects:
            raise NotFound(f"there are no {kind.plural} in {api.namespace}")
        for i, obj in enumerate(objects):
            if i:
                print("\n")
            print("\n".join(_lines(obj)))
            print("\n".join(_event_lines(api, obj)))
    return 0


def _lines(obj: dict[str, Any]) -> Iterator[str]:
    metadata = obj["metadata"]
    yield f"Name:         {metadata['name']}"
    if metadata.get("namespace"):
        yield f"Namespace:    {metadata['namespace']}"
    annotations = {k: v for k, v in (metadata.get("annotations") or {}).items() if k != _LAST_APPLIED}
    for title, values in (("Labels", metadata.get("labels") or {}), ("Annotations", annotations)):
        pairs = [f"{key}: {value}" if title == "Annotations" else f"{key}={value}" for key, value in sorted(values.items())]
        yield f"{title + ':':<14}" + ("\n" + " " * 14).join(pairs or ["<none>"])
    status = dict(obj.get("status") or {})
    conditions = status.pop("conditions", [])
    rest = {k: v for k, v in obj.items() if k not in ("metadata", "status", "data", "stringData")}
    rest["metadata"] = {k: v for k, v in metadata.items() if k not in _HIDDEN_METADATA}
    if "data" in obj:  # a Secret's values never print
        rest["data"] = {key: f"{len(str(value))} characters" for key, value in obj["data"].items()}
    for key in sorted(rest):
        if rest[key]:
            yield show.as_yaml({key: rest[key]}).rstrip()
    if status:
        yield show.as_yaml({"status": status}).rstrip()
    if conditions:
        yield "Conditions:"
        rows = [[c["type"], c["status"], c.get("reason", ""), c.get("message", "").replace("\n", " ")] for c in conditions]
        yield from ("  " + line for line in show.table_lines(["TYPE", "STATUS", "REASON", "MESSAGE"], rows))


def _event_lines(api: Api, obj: dict[str, Any]) -> Iterator[str]:
    metadata = obj["metadata"]
    selector = f"involvedObject.name={metadata['name']},involvedObject.uid={metadata.get('uid', '')}"
    events = api.get(api.type_named("events").path(metadata.get("namespace") or "default"), query={"fieldSelector": selector})["items"]
    if not events:
        yield "Events:       <none>"
        return
    yield "Events:"
    now = time.time()
    events.sort(key=lambda event: str(event.get("lastTimestamp") or ""))
    rows = []
    for event in events:
        age = since(event.get("lastTimestamp") or event["metadata"]["creationTimestamp"], now)
        count = event.get("count") or 1
        source = (event.get("source") or {}).get("component", "")
        rows.append(
            [event.get("type", ""), event.get("reason", ""), f"{age} (x{count})" if count > 1 else age, source, event.get("message", "")]
        )
    yield from ("  " + line for line in show.table_lines(["TYPE", "REASON", "AGE", "FROM", "MESSAGE"], rows))
