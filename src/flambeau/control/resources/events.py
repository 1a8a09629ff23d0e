"""Events: what happened to an object, for ``kubectl describe`` and ``kubectl get events``. Pure.

One event object per involved object, component and reason: saying it again raises its count, so that a crash loop of a night is one line.
``store.recorder`` writes them.
"""

from __future__ import annotations

import hashlib
from typing import Literal

from flambeau.control.resources.kind import Object
from flambeau.foundation.timestamps import rfc3339

EventType = Literal["Normal", "Warning"]

MESSAGE_CHARS_MAX = 1024
"""As Kubernetes; longer messages are cut and end in an ellipsis."""

CLUSTER_EVENTS_NAMESPACE = "default"
"""Where events about cluster-scoped objects go, as in Kubernetes."""

_NAME_CHARS_MAX = 253


def event_object(involved: Object, type: EventType, reason: str, message: str, component: str, now: float) -> Object:
    """Return the Event that says something happened to an object for the first time.

    Args:
        involved: the object it happened to, as read from the store.
        type: ``Normal`` or ``Warning``.
        reason: one CamelCase word; with the object and the component it names the event.
        message: one sentence for people.
        component: who says so, as in ``inferenceservice-controller``.
        now: seconds since the epoch.
    """
    metadata = involved["metadata"]
    namespace = metadata.get("namespace") or CLUSTER_EVENTS_NAMESPACE
    identity = f"{metadata.get('uid', '')}/{involved['kind']}/{component}/{type}/{reason}"
    suffix = hashlib.sha256(identity.encode()).hexdigest()[:16]
    reference = {
        "apiVersion": involved["apiVersion"],
        "kind": involved["kind"],
        "namespace": metadata.get("namespace"),
        "name": metadata["name"],
        "uid": metadata.get("uid"),
        "resourceVersion": metadata.get("resourceVersion"),
    }
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": f"{metadata['name'][: _NAME_CHARS_MAX - len(suffix) - 1]}.{suffix}", "namespace": namespace},
        "involvedObject": {name: value for name, value in reference.items() if value},
        "type": type,
        "reason": reason,
        "message": _cut(message),
        "source": {"component": component},
        "reportingComponent": component,
        "reportingInstance": "",
        "firstTimestamp": rfc3339(now),
        "lastTimestamp": rfc3339(now),
        "count": 1,
    }


def count_again(event: Object, message: str, now: float) -> None:
    """Say a stored event once more, in place: newest message, newest time, one more."""
    event["message"] = _cut(message)
    event["lastTimestamp"] = rfc3339(now)
    event["count"] = int(event.get("count") or 0) + 1


def _cut(message: str) -> str:
    return message if len(message) <= MESSAGE_CHARS_MAX else message[: MESSAGE_CHARS_MAX - 1] + "…"
