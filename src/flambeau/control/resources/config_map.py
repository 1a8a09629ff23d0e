"""ConfigMap: settings as text."""

from __future__ import annotations

from collections.abc import Iterator

from flambeau.control.resources.age import AGE_COLUMN
from flambeau.control.resources.binary_data import DATA_BYTES_MAX, check_keys, check_unchanged, decoded_size
from flambeau.control.resources.fields.words import BOOLEAN, STRING, explained, map_of
from flambeau.control.resources.kind import Column, Finding, Kind, Object, Review
from flambeau.control.resources.lookup import find, mapping_at
from flambeau.control.resources.object_schema import object_schema

_SCHEMA = {
    "immutable": explained(BOOLEAN, "Refuse every change of the data."),
    "data": explained(map_of(STRING), "The settings."),
    "binaryData": explained(map_of(STRING), "Settings that are no text, each base64."),
}


def _entries(obj: Object, _: float) -> int:
    return len(find(obj, "data") or ()) + len(find(obj, "binaryData") or ())


def _check(obj: Object, old: Object | None) -> Review:
    errors = [
        *check_keys(obj.get("data"), "data"),
        *check_keys(obj.get("binaryData"), "binaryData"),
        *_check_values(obj),
        *check_unchanged(obj, old, ("data", "binaryData")),
    ]
    return Review(tuple(errors))


def _check_values(obj: Object) -> Iterator[Finding]:
    data, binary = mapping_at(obj, "data"), mapping_at(obj, "binaryData")
    total = sum(len(text.encode()) for text in data.values() if isinstance(text, str))
    for key, text in binary.items():
        size = decoded_size(text) if isinstance(text, str) else None
        if size is None:
            yield Finding(f"binaryData[{key}]", "is not base64: write plain text under data")
        total += size or 0
    for key in sorted(set(data) & set(binary)):
        yield Finding(f"binaryData[{key}]", "is under data, too: each key once", key)
    if total > DATA_BYTES_MAX:
        yield Finding("data", f"has {total} bytes, the most is {DATA_BYTES_MAX}", reason="FieldValueTooLong")


CONFIG_MAP = Kind(
    group="",
    versions=("v1",),
    kind="ConfigMap",
    plural="configmaps",
    singular="configmap",
    short_names=("cm",),
    columns=(Column("Data", _entries, type="integer"), AGE_COLUMN),
    schema=object_schema(_SCHEMA),
    has_status=False,
    check=_check,
)
