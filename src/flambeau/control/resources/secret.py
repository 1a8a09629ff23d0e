"""Secret: credentials and certificates, base64 in ``data``."""

from __future__ import annotations

import base64
from collections.abc import Iterator

from flambeau.control.resources.age import AGE_COLUMN
from flambeau.control.resources.binary_data import DATA_BYTES_MAX, check_keys, check_unchanged, decoded_size
from flambeau.control.resources.fields.words import BOOLEAN, STRING, explained, map_of
from flambeau.control.resources.kind import Column, Finding, Kind, Object, Review
from flambeau.control.resources.lookup import find, mapping_at
from flambeau.control.resources.object_schema import object_schema

_S3_ANNOTATION_PREFIX = "serving.kserve.io/s3-"
_SDK_PREFIX = "kserve-secret-"
"""The kserve SDK's ``set_credentials`` makes Secrets with generated names of this prefix, and writes plain texts into their data."""
_S3_KEYS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")

_SCHEMA = {
    "immutable": explained(BOOLEAN, "Refuse every change of the data."),
    "data": explained(map_of(STRING), "The values, each base64."),
    "stringData": explained(map_of(STRING), "Values as plain text; they are moved into data. Write-only."),
    "type": explained(STRING, "What the keys mean; Opaque if nothing is said."),
}


def _default(obj: Object) -> None:
    """Say the type; move plain texts into ``data``, where they win over what is there.

    A Secret that is being made by the kserve SDK has plain texts there already, some of which happen to be base64.
    """
    if not obj.get("type"):
        obj["type"] = "Opaque"
    if not find(obj, "metadata", "name") and find(obj, "metadata", "generateName") == _SDK_PREFIX and not obj.get("stringData"):
        obj["stringData"] = obj.pop("data", None)
    texts = obj.get("stringData")
    if not isinstance(texts, dict) or not all(isinstance(text, str) for text in texts.values()):
        return
    data = obj.get("data")
    encoded = {key: base64.b64encode(text.encode()).decode() for key, text in texts.items()}
    if data is None or isinstance(data, dict):
        obj["data"] = {**(data or {}), **encoded}
        del obj["stringData"]


def _check(obj: Object, old: Object | None) -> Review:
    errors = [*check_keys(obj.get("data"), "data"), *_check_values(obj), *check_unchanged(obj, old, ("data",))]
    if old is not None and old.get("type", "Opaque") != obj.get("type"):
        message = f"cannot be changed from {old.get('type', 'Opaque')}: delete the secret and create it anew"
        errors.append(Finding("type", message, obj.get("type")))
    return Review(tuple(errors), tuple(_warnings(obj)))


def _check_values(obj: Object) -> Iterator[Finding]:
    total = 0
    for key, text in mapping_at(obj, "data").items():
        size = decoded_size(text) if isinstance(text, str) else None
        if size is None:
            # The value may be the secret itself, written plainly: it is not repeated.
            yield Finding(f"data[{key}]", "is not base64: write plain text under stringData instead of data")
        total += size or 0
    if total > DATA_BYTES_MAX:
        yield Finding("data", f"has {total} bytes, the most is {DATA_BYTES_MAX}", reason="FieldValueTooLong")


def _warnings(obj: Object) -> Iterator[str]:
    """A secret for S3 whose keys are misspelt counts for nothing, and nobody says so later."""
    annotations = mapping_at(obj, "metadata", "annotations")
    if not any(str(name).startswith(_S3_ANNOTATION_PREFIX) for name in annotations):
        return
    if str(annotations.get(f"{_S3_ANNOTATION_PREFIX}useanoncredential", "")).lower() == "true":
        return
    found = mapping_at(obj, "data")
    missing = [key for key in _S3_KEYS if key not in found]
    if missing:
        names = ", ".join(sorted(found)) or "none"
        yield f"data: this secret is annotated for S3 but has no {' and no '.join(missing)} (keys found: {names}): it gives no credentials"


SECRET = Kind(
    group="",
    versions=("v1",),
    kind="Secret",
    plural="secrets",
    singular="secret",
    columns=(
        Column("Type", lambda obj, _: str(obj.get("type") or "Opaque")),
        Column("Data", lambda obj, _: len(find(obj, "data") or ()), type="integer"),
        AGE_COLUMN,
    ),
    schema=object_schema(_SCHEMA),
    has_status=False,
    default=_default,
    check=_check,
)
