"""``metadata``, the same in every kind: its fields, and the rules of names, labels and annotations. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator

from flambeau.control.resources.fields.words import ANYTHING, BOOLEAN, INT64, STRING, an_object, fields, list_of, map_of
from flambeau.control.resources.kind import Finding, Kind, Object
from flambeau.control.resources.lookup import find

ANNOTATIONS_BYTES_MAX = 256 * 1024
"""All of an object's annotations together."""

LABEL_CHARS_MAX = 63
"""A DNS label, and a label's name or value."""

_SUBDOMAIN_CHARS_MAX = 253

DNS_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
DNS_SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_QUALIFIED_NAME = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?")
_LABEL_VALUE = re.compile(r"([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?")

_OWNER = an_object(
    {**fields("apiVersion", "kind", "name", "uid", of=STRING), **fields("controller", "blockOwnerDeletion", of=BOOLEAN)},
    ("apiVersion", "kind", "name", "uid"),
)

OBJECT_META = an_object(
    {
        **fields("name", "generateName", "namespace", "selfLink", "uid", "resourceVersion", of=STRING),
        **fields("creationTimestamp", "deletionTimestamp", of=STRING),
        **fields("generation", "deletionGracePeriodSeconds", of=INT64),
        **fields("labels", "annotations", of=map_of(STRING)),
        "ownerReferences": list_of(_OWNER),
        "finalizers": list_of(STRING),
        "managedFields": list_of(ANYTHING),
    }
)
"""Schema of ``metadata``."""


def check_metadata(kind: Kind, obj: Object) -> Iterator[Finding]:
    """Yield what is wrong with an object's name, labels and annotations."""
    yield from _check_name(kind, obj)
    for field, values in (("labels", find(obj, "metadata", "labels")), ("annotations", find(obj, "metadata", "annotations"))):
        for key, value in (values if isinstance(values, dict) else {}).items():
            path = f"metadata.{field}"
            if not _is_qualified_name(key):
                yield Finding(path, f"the key {key!r} must be NAME or PREFIX/NAME, the name of letters, digits, - _ . (63 at most)", key)
            if field == "labels" and isinstance(value, str) and not _is_label_value(value):
                yield Finding(path, f"the value of {key} must be at most 63 letters, digits, - _ . and begin and end with one", value)
    annotations = find(obj, "metadata", "annotations")
    if isinstance(annotations, dict):
        size = sum(len(key.encode()) + len(value.encode()) for key, value in annotations.items() if isinstance(value, str))
        if size > ANNOTATIONS_BYTES_MAX:
            message = f"must have at most {ANNOTATIONS_BYTES_MAX} bytes together, they have {size}"
            yield Finding("metadata.annotations", message, reason="FieldValueTooLong")


def _check_name(kind: Kind, obj: Object) -> Iterator[Finding]:
    name, base = find(obj, "metadata", "name"), find(obj, "metadata", "generateName")
    if not name and not base:
        yield Finding("metadata.name", "name or generateName is required", reason="FieldValueRequired")
    if not isinstance(name, str) or not name:
        return
    if kind.kind in ("Namespace", "Service"):
        if not DNS_LABEL.fullmatch(name) or len(name) > LABEL_CHARS_MAX:
            yield Finding("metadata.name", "must be at most 63 lower case letters, digits and -, and begin and end with no -", name)
    elif not DNS_SUBDOMAIN.fullmatch(name) or len(name) > _SUBDOMAIN_CHARS_MAX:
        message = "must be at most 253 lower case letters, digits, - and ., and begin and end with a letter or digit"
        yield Finding("metadata.name", message, name)


def _is_qualified_name(key: str) -> bool:
    prefix, slash, name = key.rpartition("/")
    if slash and not (DNS_SUBDOMAIN.fullmatch(prefix.lower()) and len(prefix) <= _SUBDOMAIN_CHARS_MAX):
        return False
    return bool(_QUALIFIED_NAME.fullmatch(name)) and len(name) <= LABEL_CHARS_MAX


def _is_label_value(value: str) -> bool:
    return bool(_LABEL_VALUE.fullmatch(value)) and len(value) <= LABEL_CHARS_MAX
