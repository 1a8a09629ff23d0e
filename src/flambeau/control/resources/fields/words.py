"""Words to write a schema with: OpenAPI v3 as Kubernetes' structural schemas have it. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Schema = dict[str, Any]

STRING: Schema = {"type": "string"}
BOOLEAN: Schema = {"type": "boolean"}
INTEGER: Schema = {"type": "integer"}
INT32: Schema = {"type": "integer", "format": "int32"}
INT64: Schema = {"type": "integer", "format": "int64"}
DOUBLE: Schema = {"type": "number", "format": "double"}
INT_OR_STRING: Schema = {"x-kubernetes-int-or-string": True}
"""A count or a share (``2`` or ``"25%"``), a port's number or its name."""

_DECIMAL = r"([0-9]+(\.[0-9]*)?|\.[0-9]+)"
QUANTITY: Schema = {**INT_OR_STRING, "pattern": rf"^[+-]?{_DECIMAL}([KMGTPE]i|[numkMGTPE]|[eE][+-]?{_DECIMAL})?$"}
"""An amount of something: ``2``, ``"500m"``, ``"1.5Gi"``, ``"1e3"``."""

ANYTHING: Schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
"""An object of any fields."""


def fields(*names: str, of: Schema) -> dict[str, Schema]:
    """Return several fields of the same schema."""
    return dict.fromkeys(names, of)


def an_object(properties: Mapping[str, Schema], required: tuple[str, ...] = ()) -> Schema:
    """Return the schema of an object with just these fields."""
    schema: Schema = {"type": "object", "properties": dict(properties)}
    if required:
        schema["required"] = list(required)
    return schema


def one_of(*values: str) -> Schema:
    """Return the schema of a string with few possible values."""
    return {**STRING, "enum": list(values)}


def list_of(items: Schema, *, keys: tuple[str, ...] = ()) -> Schema:
    """Return the schema of a list.

    Args:
        items: the schema of each entry.
        keys: the fields that tell entries apart, where two of the same would be a mistake and patches change one entry.
    """
    schema: Schema = {"type": "array", "items": items}
    if keys:
        schema |= {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": list(keys)}
    return schema


def whole_list_of(items: Schema) -> Schema:
    """Return the schema of a list that is one value: a patch changes all of it."""
    return {**list_of(items), "x-kubernetes-list-type": "atomic"}


def set_of(items: Schema) -> Schema:
    """Return the schema of a list with each entry once."""
    return {**list_of(items), "x-kubernetes-list-type": "set"}


def map_of(values: Schema) -> Schema:
    """Return the schema of an object with any keys."""
    return {"type": "object", "additionalProperties": values}


STRINGS = whole_list_of(STRING)
STRING_MAP = map_of(STRING)


def or_else(schema: Schema, default: Any) -> Schema:
    """Return the schema with what counts where nothing is said."""
    return {**schema, "default": default}


def or_null(schema: Schema) -> Schema:
    """Return the schema with null as a value of its own."""
    return {**schema, "nullable": True}


def at_most_one(properties: Mapping[str, Schema]) -> Schema:
    """Return what an object's schema needs so that no two of these fields are there together: to be merged into it."""
    each = [{"required": [name]} for name in properties]
    return {"oneOf": [{"not": {"anyOf": each}}, *each]}


def explained(schema: Schema, text: str) -> Schema:
    """Return the schema with a sentence for ``kubectl explain``."""
    return {**schema, "description": text}
