"""Kubernetes' protobuf envelope, read: kubectl sends its built-in kinds in no other form.

Only the messages that kubectl creates are described. Never writes protobuf: every client takes JSON answers. Pure.
Source: kserve-spec 9.4.
"""

from __future__ import annotations

import base64
import datetime
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from flambeau.control.resources.kind import Object
from flambeau.foundation.errors import InvalidInput
from flambeau.foundation.protobuf_wire import Wire, fields, varint_at

_MAGIC = b"k8s\0"


@dataclass(frozen=True, slots=True)
class _Field:
    """One field of a message: its JSON name, and how its value is read."""

    name: str
    type: str
    """string, bytes, int, int-above-0 (Go writes 0 where there is none), bool, time, int-or-string, string-map, bytes-map, or the name
    of a message."""
    repeated: bool = False


_MESSAGES: dict[str, dict[int, _Field]] = {
    "ObjectMeta": {
        1: _Field("name", "string"),
        2: _Field("generateName", "string"),
        3: _Field("namespace", "string"),
        5: _Field("uid", "string"),
        6: _Field("resourceVersion", "string"),
        7: _Field("generation", "int"),
        8: _Field("creationTimestamp", "time"),
        11: _Field("labels", "string-map"),
        12: _Field("annotations", "string-map"),
        13: _Field("ownerReferences", "OwnerReference", repeated=True),
        14: _Field("finalizers", "string", repeated=True),
    },
    "OwnerReference": {
        1: _Field("kind", "string"),
        3: _Field("name", "string"),
        4: _Field("uid", "string"),
        5: _Field("apiVersion", "string"),
        6: _Field("controller", "bool"),
        7: _Field("blockOwnerDeletion", "bool"),
    },
    "Namespace": {1: _Field("metadata", "ObjectMeta"), 2: _Field("spec", "NamespaceSpec"), 3: _Field("status", "NamespaceStatus")},
    "NamespaceSpec": {1: _Field("finalizers", "string", repeated=True)},
    "NamespaceStatus": {1: _Field("phase", "string")},
    "Secret": {
        1: _Field("metadata", "ObjectMeta"),
        2: _Field("data", "bytes-map"),
        3: _Field("type", "string"),
        4: _Field("stringData", "string-map"),
        5: _Field("immutable", "bool"),
    },
    "ConfigMap": {
        1: _Field("metadata", "ObjectMeta"),
        2: _Field("data", "string-map"),
        3: _Field("binaryData", "bytes-map"),
        4: _Field("immutable", "bool"),
    },
    "ServiceAccount": {
        1: _Field("metadata", "ObjectMeta"),
        2: _Field("secrets", "ObjectReference", repeated=True),
        3: _Field("imagePullSecrets", "LocalObjectReference", repeated=True),
        4: _Field("automountServiceAccountToken", "bool"),
    },
    "ObjectReference": {
        1: _Field("kind", "string"),
        2: _Field("namespace", "string"),
        3: _Field("name", "string"),
        4: _Field("uid", "string"),
        5: _Field("apiVersion", "string"),
        6: _Field("resourceVersion", "string"),
        7: _Field("fieldPath", "string"),
    },
    "LocalObjectReference": {1: _Field("name", "string")},
    "Service": {1: _Field("metadata", "ObjectMeta"), 2: _Field("spec", "ServiceSpec")},
    "ServiceSpec": {
        1: _Field("ports", "ServicePort", repeated=True),
        2: _Field("selector", "string-map"),
        3: _Field("clusterIP", "string"),
        4: _Field("type", "string"),
        10: _Field("externalName", "string"),
    },
    "ServicePort": {
        1: _Field("name", "string"),
        2: _Field("protocol", "string"),
        3: _Field("port", "int"),
        4: _Field("targetPort", "int-or-string"),
        5: _Field("nodePort", "int-above-0"),
    },
    "Eviction": {1: _Field("metadata", "ObjectMeta"), 2: _Field("deleteOptions", "DeleteOptions")},
    "HorizontalPodAutoscaler": {1: _Field("metadata", "ObjectMeta"), 2: _Field("spec", "HorizontalPodAutoscalerSpec")},
    "HorizontalPodAutoscalerSpec": {  # of autoscaling/v1, which kubectl autoscale writes
        1: _Field("scaleTargetRef", "CrossVersionObjectReference"),
        2: _Field("minReplicas", "int"),
        3: _Field("maxReplicas", "int"),
        4: _Field("targetCPUUtilizationPercentage", "int"),
    },
    "CrossVersionObjectReference": {1: _Field("kind", "string"), 2: _Field("name", "string"), 3: _Field("apiVersion", "string")},
    "SelfSubjectAccessReview": {1: _Field("metadata", "ObjectMeta"), 2: _Field("spec", "SelfSubjectAccessReviewSpec")},
    "SelfSubjectAccessReviewSpec": {
        1: _Field("resourceAttributes", "ResourceAttributes"),
        2: _Field("nonResourceAttributes", "NonResourceAttributes"),
    },
    "ResourceAttributes": {
        1: _Field("namespace", "string"),
        2: _Field("verb", "string"),
        3: _Field("group", "string"),
        4: _Field("version", "string"),
        5: _Field("resource", "string"),
        6: _Field("subresource", "string"),
        7: _Field("name", "string"),
    },
    "NonResourceAttributes": {1: _Field("path", "string"), 2: _Field("verb", "string")},
    "SelfSubjectRulesReview": {1: _Field("metadata", "ObjectMeta"), 2: _Field("spec", "SelfSubjectRulesReviewSpec")},
    "SelfSubjectRulesReviewSpec": {1: _Field("namespace", "string")},
    "SelfSubjectReview": {1: _Field("metadata", "ObjectMeta")},
    "DeleteOptions": {
        1: _Field("gracePeriodSeconds", "int"),
        2: _Field("preconditions", "Preconditions"),
        3: _Field("orphanDependents", "bool"),
        4: _Field("propagationPolicy", "string"),
        5: _Field("dryRun", "string", repeated=True),
    },
    "Preconditions": {1: _Field("uid", "string"), 2: _Field("resourceVersion", "string")},
}


_HINTS = {"Pod": "kubectl exec runs a command beside a container's own; kubectl apply -f takes a whole pod"}
"""For kinds that only kubectl debug sends."""


def decode(body: bytes) -> Object:
    """Return the object in a protobuf body, as its JSON would be.

    Raises:
        InvalidInput: it isn't such an envelope, is cut short, or holds a kind that isn't described here.
    """
    if not body.startswith(_MAGIC):
        raise InvalidInput("the body says it is Kubernetes protobuf, but does not begin with its four bytes")
    try:
        return _decode_envelope(body[len(_MAGIC) :])
    except (ValueError, OverflowError) as error:  # bad UTF-8, cut short, a time out of range
        raise InvalidInput(f"cannot read the protobuf body: {error}") from error


def _decode_envelope(envelope: bytes) -> Object:
    type_meta, raw = b"", b""
    for number, _, value in _fields(envelope):
        if number == 1 and isinstance(value, bytes):
            type_meta = value
        elif number == 2 and isinstance(value, bytes):
            raw = value
    names = {number: value.decode() for number, _, value in _fields(type_meta) if isinstance(value, bytes)}
    api_version, kind = names.get(1, ""), names.get(2, "")
    if kind not in _MESSAGES:
        raise InvalidInput(f"cannot read a protobuf body of kind {kind!r}", hint=_HINTS.get(kind, "send JSON"))
    return {"apiVersion": api_version, "kind": kind, **_message(kind, raw)}


def _message(name: str, data: bytes) -> dict[str, Any]:
    described = _MESSAGES[name]
    result: dict[str, Any] = {}
    for number, wire, value in _fields(data):
        field = described.get(number)
        if field is None:
            continue
        if field.type.endswith("-map"):
            key, item = _map_entry(field.type, _bytes(field, wire, value))
            result.setdefault(field.name, {})[key] = item
            continue
        item = _scalar(field, wire, value)
        if field.repeated:
            result.setdefault(field.name, []).append(item)
        elif item not in ("", None):  # Go writes empty strings for fields that aren't set
            result[field.name] = item
    return result


def _scalar(field: _Field, wire: int, value: int | bytes) -> Any:
    if field.type in ("int", "int-above-0", "bool"):
        if wire != Wire.VARINT or isinstance(value, bytes):
            raise ValueError(f"field {field.name} is no number")
        if field.type == "int-above-0":
            return value or None
        return bool(value) if field.type == "bool" else value - (1 << 64) if value >> 63 else value
    data = _bytes(field, wire, value)
    if field.type == "string":
        return data.decode()
    if field.type == "time":
        return _time(data)
    if field.type == "int-or-string":
        return _int_or_string(data)
    return _message(field.type, data)


def _bytes(field: _Field, wire: int, value: int | bytes) -> bytes:
    if wire != Wire.BYTES or not isinstance(value, bytes):
        raise ValueError(f"field {field.name} has the wrong wire type {wire}")
    return value


def _map_entry(type_name: str, data: bytes) -> tuple[str, str]:
    key, item = b"", b""
    for number, _, value in _fields(data):
        if isinstance(value, bytes):
            key, item = (value, item) if number == 1 else (key, value)
    return key.decode(), base64.b64encode(item).decode() if type_name == "bytes-map" else item.decode()


def _int_or_string(data: bytes) -> int | str:
    values = {number: value for number, _, value in _fields(data)}
    number, text = values.get(2, 0), values.get(3, b"")
    if values.get(1) and isinstance(text, bytes):
        return text.decode()
    return number if isinstance(number, int) else 0


def _time(data: bytes) -> str | None:
    seconds = next((value for number, _, value in _fields(data) if number == 1 and isinstance(value, int)), 0)
    if not seconds:
        return None
    return datetime.datetime.fromtimestamp(seconds, tz=datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _fields(data: bytes) -> Iterator[tuple[int, int, int | bytes]]:
    """Yield (field number, wire type, value) of a message."""
    for number, wire, begin, end in fields(data):
        yield number, wire, varint_at(data, begin)[0] if wire == Wire.VARINT else data[begin:end]
