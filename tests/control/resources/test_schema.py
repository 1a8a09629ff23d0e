from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flambeau.control.resources.fields.words import QUANTITY
from flambeau.control.resources.schema import INVALID_TYPE, UNKNOWN_FIELD, drop_nulls, fill_defaults, invalid_values, unknown_fields

SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["name"],
    "properties": {
        "name": {"type": "string", "minLength": 1, "maxLength": 5, "pattern": "^[a-z]*$"},
        "count": {"type": "integer", "format": "int32", "minimum": 0},
        "big": {"type": "integer", "format": "int64"},
        "share": {"type": "number", "maximum": 1},
        "on": {"type": "boolean"},
        "memory": QUANTITY,
        "mode": {"type": "string", "enum": ["all", "none"]},
        "amount": {"x-kubernetes-int-or-string": True, "pattern": "^[0-9]+[kM]?$"},
        "labels": {"type": "object", "additionalProperties": {"type": "string"}},
        "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": True, "properties": {"known": {"type": "integer"}}},
        "maybe": {"type": "string", "nullable": True},
        "ports": {
            "type": "array",
            "maxItems": 3,
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["port", "protocol"],
            "items": {
                "type": "object",
                "required": ["port"],
                "properties": {"port": {"type": "integer"}, "protocol": {"type": "string", "default": "TCP"}},
            },
        },
        "inner": {
            "type": "object",
            "properties": {"storageUri": {"type": "string"}, "deeper": {"type": "object", "properties": {"x": {"type": "integer"}}}},
        },
        "either": {
            "type": "object",
            "properties": {"exact": {"type": "string"}, "prefix": {"type": "string"}},
            "oneOf": [
                {"not": {"anyOf": [{"required": ["exact"]}, {"required": ["prefix"]}]}},
                {"required": ["exact"]},
                {"required": ["prefix"]},
            ],
        },
    },
}


def wrong(**fields: Any) -> list[tuple[str, str, str]]:
    return [(finding.path, finding.message, finding.reason) for finding in invalid_values({"name": "a", **fields}, SCHEMA)]


@pytest.mark.parametrize(
    "fields",
    [
        {"count": 3},
        {"count": 3.0},
        {"big": 2**60},
        {"share": 0.5},
        {"share": 1},
        {"on": False},
        {"mode": "all"},
        {"amount": 3},
        {"amount": "3k"},
        {"labels": {"any": "thing"}},
        {"free": {"anything": [1, {"x": None}]}},
        {"maybe": None},
        {"ports": [{"port": 1, "protocol": "TCP"}, {"port": 1, "protocol": "UDP"}]},
        {"either": {}},
        {"either": {"exact": "x"}},
    ],
)
def test_good_values(fields: dict[str, Any]) -> None:
    assert wrong(**fields) == []


@pytest.mark.parametrize(
    ("fields", "path", "message", "reason"),
    [
        ({"count": "3"}, "count", 'must be an integer, found the string "3": write it without quotes', INVALID_TYPE),
        ({"count": True}, "count", "must be an integer, found the boolean true", INVALID_TYPE),
        ({"count": 1.5}, "count", "must be an integer, found the number 1.5", INVALID_TYPE),
        ({"count": 2**31}, "count", f"must be at most {2**31 - 1}", "FieldValueInvalid"),
        ({"big": 2**63}, "big", f"must be at most {2**63 - 1}", "FieldValueInvalid"),
        ({"count": -1}, "count", "must be at least 0", "FieldValueInvalid"),
        ({"share": 1.5}, "share", "must be at most 1", "FieldValueInvalid"),
        ({"share": True}, "share", "must be a number, found the boolean true", INVALID_TYPE),
        ({"name": 5}, "name", 'must be a string, found the number 5: put it in quotes: "5"', INVALID_TYPE),
        ({"name": True}, "name", 'must be a string, found the boolean true: put it in quotes: "true"', INVALID_TYPE),
        ({"name": ""}, "name", "must have at least 1 characters, it has 0", "FieldValueInvalid"),
        ({"name": "abcdef"}, "name", "must have at most 5 characters, it has 6", "FieldValueTooLong"),
        ({"name": "A"}, "name", "must match ^[a-z]*$", "FieldValueInvalid"),
        ({"name": None}, "name", "is required", "FieldValueRequired"),
        ({"on": "true"}, "on", 'must be true or false, found the string "true": write it without quotes', INVALID_TYPE),
        ({"mode": "some"}, "mode", 'must be one of "all", "none"', "FieldValueNotSupported"),
        ({"amount": 0.5}, "amount", 'must be an integer or a string, found the number 0.5: put it in quotes: "0.5"', INVALID_TYPE),
        ({"amount": "lots"}, "amount", "must match ^[0-9]+[kM]?$", "FieldValueInvalid"),
        ({"memory": "2GB"}, "memory", "must be a quantity: a number, perhaps with a unit, as in 500m, 512Mi or 4Gi", "FieldValueInvalid"),
        ({"labels": {"a": 1}}, "labels.a", 'must be a string, found the number 1: put it in quotes: "1"', INVALID_TYPE),
        ({"labels": ["a"]}, "labels", "must be an object, found a list", INVALID_TYPE),
        ({"free": {"known": "x"}}, "free.known", 'must be an integer, found the string "x"', INVALID_TYPE),
        ({"ports": {"port": 1}}, "ports", "must be a list, found an object: begin each entry with '- '", INVALID_TYPE),
        ({"ports": [{}]}, "ports[0].port", "is required", "FieldValueRequired"),
        ({"ports": [{"port": n} for n in range(4)]}, "ports", "must have at most 3 entries, it has 4", "FieldValueTooMany"),
        (
            {"ports": [{"port": 1, "protocol": "TCP"}] * 2},
            "ports[1]",
            'is there twice: {"port": 1, "protocol": "TCP"}',
            "FieldValueDuplicate",
        ),
        (
            {"either": {"exact": "a", "prefix": "b"}},
            "either",
            "must have only one of exact, prefix; it has exact and prefix",
            "FieldValueInvalid",
        ),
    ],
)
def test_bad_values(fields: dict[str, Any], path: str, message: str, reason: str) -> None:
    expected = (path, message, reason)
    found = wrong(**fields)
    assert expected in found
    assert len(found) == 1 or path == "name"


def test_everything_is_found_at_once() -> None:
    assert len(wrong(count="x", on="x", ports=[{}, {}], inner=[])) == 6


@pytest.mark.parametrize(
    ("obj", "message"),
    [
        ({"nam": "x"}, 'unknown field "nam", did you mean "name"?'),
        ({"NAME": "x"}, 'unknown field "NAME", did you mean "name"?'),
        ({"inner": {"storageURI": "x"}}, 'unknown field "inner.storageURI", did you mean "storageUri"?'),
        ({"inner": {"deeper": {"y": 1}}}, 'unknown field "inner.deeper.y"'),
        ({"ports": [{"port": 1, "prot": "x"}]}, 'unknown field "ports[0].prot"'),
        ({"storageUri": "x"}, 'unknown field "storageUri", it belongs under "inner"'),
        ({"inner": {"count": 1}}, 'unknown field "inner.count", it belongs one level up'),
        ({"unheardOf": 1}, 'unknown field "unheardOf"'),
    ],
)
def test_unknown_fields(obj: dict[str, Any], message: str) -> None:
    (finding,) = unknown_fields(obj, SCHEMA)
    assert finding.message.startswith(message)
    assert finding.reason == UNKNOWN_FIELD


def test_where_any_field_may_be_none_is_unknown() -> None:
    obj = {"labels": {"any": "x"}, "free": {"any": {"x": 1}}, "count": {"not": "an object"}}
    assert list(unknown_fields(obj, SCHEMA)) == []


def test_nulls_are_no_fields() -> None:
    obj: Any = {"name": None, "maybe": None, "labels": {"a": None}, "ports": [{"port": 1, "protocol": None}], "free": {"x": None}}
    drop_nulls(obj, SCHEMA)
    assert obj == {"maybe": None, "labels": {"a": None}, "ports": [{"port": 1}], "free": {"x": None}}


def test_defaults_come_where_nothing_is_said() -> None:
    obj: Any = {"ports": [{"port": 1}, {"port": 2, "protocol": "UDP"}]}
    fill_defaults(obj, SCHEMA)
    assert obj == {"ports": [{"port": 1, "protocol": "TCP"}, {"port": 2, "protocol": "UDP"}]}


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([*SCHEMA["properties"], "other"]), inner, max_size=4),
    max_leaves=15,
)


@given(json_values)
def test_nothing_makes_the_walks_fail(value: Any) -> None:
    obj = {"inner": value, "ports": value, "either": value, "labels": value}
    before = copy.deepcopy(obj)
    list(unknown_fields(obj, SCHEMA))
    list(invalid_values(obj, SCHEMA))
    assert obj == before
    drop_nulls(obj, SCHEMA)
    fill_defaults(obj, SCHEMA)
