"""Words to write a schema with, for the kinds whose schema isn't packaged. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Schema = dict[str, Any]

STRING: Schema = {"type": "string"}
BOOLEAN: Schema = {"type": "boolean"}
INT32: Schema = {"type": "integer", "format": "int32"}
INT64: Schema = {"type": "integer", "format": "int64"}
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


def list_of(items: Schema) -> Schema:
    """Return the schema of a list."""
    return {"type": "array", "items": items}


def map_of(values: Schema) -> Schema:
    """Return the schema of an object with any keys."""
    return {"type": "object", "additionalProperties": values}


def explained(schema: Schema, text: str) -> Schema:
    """Return the schema with a sentence for ``kubectl explain``."""
    return {**schema, "description": text}
