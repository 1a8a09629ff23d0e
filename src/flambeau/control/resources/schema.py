"""Hold an object against its kind's schema: unknown fields, wrong values, defaults. Pure.

Two walks, because Kubernetes has them: unknown fields are found in what the person wrote; values are checked after defaulting. Every
finding is made, not only the first. Duplicate keys are the business of whoever reads YAML or JSON.
"""

from __future__ import annotations

import copy
import difflib
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from flambeau.control.resources.fields.words import QUANTITY
from flambeau.control.resources.kind import Finding, Object

UNKNOWN_FIELD = "FieldUnknown"
"""The reason of findings about fields that a kind doesn't have; Kubernetes answers these with 400, other findings with 422."""

INVALID_TYPE = "FieldValueTypeInvalid"

_Schema = Mapping[str, Any]

_PRESERVE = "x-kubernetes-preserve-unknown-fields"
_INT_OR_STRING = "x-kubernetes-int-or-string"
_INTEGER_RANGES = {"int32": (-(2**31), 2**31 - 1), "int64": (-(2**63), 2**63 - 1)}
_VALUE_CHARS_SHOWN_MAX = 60
_PATTERN_WORDS = {QUANTITY["pattern"]: "must be a quantity: a number, perhaps with a unit, as in 500m, 512Mi or 4Gi"}
"""What a pattern means, for those that a person can't read."""


def unknown_fields(obj: Object, schema: _Schema) -> Iterator[Finding]:
    """Yield every field at any depth that the schema doesn't have, with the one that was probably meant."""
    yield from _unknown(obj, schema, "", {})


def invalid_values(obj: Object, schema: _Schema) -> Iterator[Finding]:
    """Yield every value of a wrong type or outside its limits, and every required field that is missing."""
    yield from _invalid(obj, schema, "")


def drop_nulls(value: Any, schema: _Schema) -> None:
    """Remove null fields in place, as Kubernetes does: ``labels: null`` means no labels. Maps keep theirs for ``invalid_values``."""
    if isinstance(value, dict):
        for name, part in _known_parts(value, schema):
            if value[name] is None and name in schema.get("properties", {}) and not part.get("nullable"):
                del value[name]
            else:
                drop_nulls(value[name], part)
    elif isinstance(value, list) and "items" in schema:
        for entry in value:
            drop_nulls(entry, schema["items"])


def fill_defaults(value: Any, schema: _Schema) -> None:
    """Put the schema's defaults where fields are missing, in place."""
    if isinstance(value, dict):
        for name, part in schema.get("properties", {}).items():
            if name not in value and "default" in part:
                value[name] = copy.deepcopy(part["default"])
        for name, part in _known_parts(value, schema):
            fill_defaults(value[name], part)
    elif isinstance(value, list) and "items" in schema:
        for entry in value:
            fill_defaults(entry, schema["items"])


def _known_parts(value: Object, schema: _Schema) -> list[tuple[str, _Schema]]:
    """Return (field, its schema) for the fields of an object that the schema says something about."""
    properties, rest = schema.get("properties", {}), schema.get("additionalProperties")
    parts = []
    for name in value:
        part = properties.get(name, rest)
        if isinstance(part, Mapping):
            parts.append((name, part))
    return parts


# -- unknown fields --


def _unknown(value: Any, schema: _Schema, path: str, around: _Schema) -> Iterator[Finding]:
    if isinstance(value, list):
        for index, entry in enumerate(value):
            yield from _unknown(entry, schema.get("items", {}), f"{path}[{index}]", around)
    if not isinstance(value, dict):
        return
    properties, rest = schema.get("properties", {}), schema.get("additionalProperties")
    takes_any = rest is not None or schema.get(_PRESERVE) or not properties
    for name, entry in value.items():
        place = f"{path}.{name}" if path else str(name)
        part = properties.get(name, rest)
        if isinstance(part, Mapping):
            yield from _unknown(entry, part, place, properties)
        elif not takes_any:
            yield Finding(place, f'unknown field "{place}"{_meant(str(name), properties, around)}', reason=UNKNOWN_FIELD)


def _meant(name: str, properties: _Schema, around: _Schema) -> str:
    """Return ``, did you mean …?`` or where the field really belongs, or nothing."""
    inside = [known for known, part in properties.items() if name in part.get("properties", {})]
    if inside:
        return f', it belongs under "{min(inside, key=_likelihood)}"'
    if name in around:
        return ", it belongs one level up"
    by_lower = {known.lower(): known for known in properties}
    close = difflib.get_close_matches(name.lower(), by_lower, n=1, cutoff=0.65)
    if close:
        return f', did you mean "{by_lower[close[0]]}"?'
    return ""


def _likelihood(field: str) -> tuple[bool, str]:
    """Order the fields that a stray field may belong under: ``model`` is what nearly everybody means."""
    return field != "model", field


# -- invalid values --


def _invalid(value: Any, schema: _Schema, path: str) -> Iterator[Finding]:
    if value is None and schema.get("nullable"):
        return
    wrong = _wrong_type(value, schema)
    if wrong:
        yield Finding(path, wrong, value, INVALID_TYPE)
        return
    yield from _outside_limits(value, schema, path)
    yield from _broken_alternatives(value, schema, path)
    if isinstance(value, dict):
        for name in schema.get("required", ()):
            if value.get(name) is None:
                yield Finding(_join(path, name), "is required", reason="FieldValueRequired")
        for name, part in _known_parts(value, schema):
            yield from _invalid(value[name], part, _join(path, name))
    elif isinstance(value, list):
        yield from _duplicates(value, schema, path)
        for index, entry in enumerate(value):
            yield from _invalid(entry, schema.get("items", {}), f"{path}[{index}]")


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _wrong_type(value: Any, schema: _Schema) -> str | None:
    """Return what is wrong with the value's type, or None."""
    if schema.get(_INT_OR_STRING):
        fits, wanted = isinstance(value, str) or _is_integer(value), "an integer or a string"
    else:
        match schema.get("type"):
            case "string":
                fits, wanted = isinstance(value, str), "a string"
            case "integer":
                fits, wanted = _is_integer(value) or (isinstance(value, float) and value.is_integer()), "an integer"
            case "number":
                fits, wanted = isinstance(value, int | float) and not isinstance(value, bool), "a number"
            case "boolean":
                fits, wanted = isinstance(value, bool), "true or false"
            case "object":
                fits, wanted = isinstance(value, dict), "an object"
            case "array":
                fits, wanted = isinstance(value, list), "a list"
            case _:
                fits, wanted = True, ""
    if fits:
        return None
    return f"must be {wanted}, found {_shown(value)}{_type_hint(value, wanted)}"


def _is_integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _shown(value: Any) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return f"the boolean {str(value).lower()}"
        case int() | float():
            return f"the number {value}"
        case str():
            shown = value if len(value) <= _VALUE_CHARS_SHOWN_MAX else value[:_VALUE_CHARS_SHOWN_MAX] + "…"
            return f"the string {json.dumps(shown, ensure_ascii=False)}"
        case list():
            return "a list"
        case _:
            return "an object"


def _type_hint(value: Any, wanted: str) -> str:
    if "string" in wanted and isinstance(value, bool | int | float):
        return f': put it in quotes: "{str(value).lower() if isinstance(value, bool) else value}"'
    if wanted in ("an integer", "a number", "true or false") and isinstance(value, str):
        return ": write it without quotes" if re.fullmatch(r"-?\d+|true|false", value) else ""
    if wanted == "a list" and isinstance(value, dict | str):
        return ": begin each entry with '- '"
    return ""


def _outside_limits(value: Any, schema: _Schema, path: str) -> Iterator[Finding]:
    if "enum" in schema and value not in schema["enum"]:
        allowed = ", ".join(f'"{entry}"' for entry in schema["enum"])
        yield Finding(path, f"must be one of {allowed}", value, "FieldValueNotSupported")
    if isinstance(value, str):
        if "pattern" in schema and not re.search(schema["pattern"], value):
            yield Finding(path, _PATTERN_WORDS.get(schema["pattern"]) or f"must match {schema['pattern']}", value)
        yield from _outside(len(value), schema, "Length", "characters", path, value)
    elif isinstance(value, list):
        yield from _outside(len(value), schema, "Items", "entries", path, None)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        low, high = _INTEGER_RANGES.get(schema.get("format", ""), (None, None))
        low, high = schema.get("minimum", low), schema.get("maximum", high)
        if low is not None and value < low:
            yield Finding(path, f"must be at least {low}", value)
        if high is not None and value > high:
            yield Finding(path, f"must be at most {high}", value)


def _outside(size: int, schema: _Schema, limit: str, unit: str, path: str, value: Any) -> Iterator[Finding]:
    low, high = schema.get(f"min{limit}"), schema.get(f"max{limit}")
    if low is not None and size < low:
        yield Finding(path, f"must have at least {low} {unit}, it has {size}", value)
    if high is not None and size > high:
        reason = "FieldValueTooLong" if unit == "characters" else "FieldValueTooMany"
        yield Finding(path, f"must have at most {high} {unit}, it has {size}", value, reason)


def _broken_alternatives(value: Any, schema: _Schema, path: str) -> Iterator[Finding]:
    """oneOf, anyOf and not, which in CRDs nearly always say which fields go together."""
    alternatives = schema.get("oneOf", ())
    if alternatives and sum(_holds(value, part) for part in alternatives) != 1:
        names = sorted({name for part in alternatives for name in part.get("required", ())})
        found = [name for name in names if isinstance(value, dict) and name in value]
        yield Finding(path, f"must have only one of {', '.join(names)}; it has {' and '.join(found) or 'none'}", value)
    choices = schema.get("anyOf", ())
    if choices and not any(_holds(value, part) for part in choices):
        names = sorted({name for part in choices for name in part.get("required", ())})
        yield Finding(path, f"must have one of {', '.join(names)}" if names else "has a value that is not allowed", value)
    if "not" in schema and _holds(value, schema["not"]):
        yield Finding(path, "has fields that do not go together", value)
    for part in schema.get("allOf", ()):
        yield from _invalid(value, part, path)


def _holds(value: Any, schema: _Schema) -> bool:
    return next(_invalid(value, schema, ""), None) is None


def _duplicates(value: list[Any], schema: _Schema, path: str) -> Iterator[Finding]:
    """Lists that are maps or sets have each key once."""
    list_type = schema.get("x-kubernetes-list-type")
    if list_type not in ("map", "set"):
        return
    keys = schema.get("x-kubernetes-list-map-keys", ())
    seen: set[str] = set()
    for index, entry in enumerate(value):
        identity = {key: entry.get(key) for key in keys} if list_type == "map" and isinstance(entry, dict) else entry
        text = json.dumps(identity, sort_keys=True, default=str)
        if text in seen:
            yield Finding(f"{path}[{index}]", f"is there twice: {text}", identity, "FieldValueDuplicate")
        seen.add(text)
