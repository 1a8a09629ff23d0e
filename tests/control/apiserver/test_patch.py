"""Patches of plain values."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flambeau.control.apiserver import patch
from flambeau.foundation.errors import InvalidInput, TooLarge


@pytest.mark.parametrize(
    ("target", "change", "expected"),
    [  # RFC 7396, appendix A
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
        ({"a": "b"}, {"a": None}, {}),
        ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
        (["a", "b"], ["c", "d"], ["c", "d"]),
        ({"a": "b"}, ["c"], ["c"]),
        ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
        ([1, 2], {"a": "b", "c": None}, {"a": "b"}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
    ],
)
def test_merge(target: Any, change: Any, expected: Any) -> None:
    assert patch.merge(target, change) == expected


@pytest.mark.parametrize(
    ("target", "operations", "expected"),
    [  # after RFC 6902, appendix A
        ({"foo": "bar"}, [{"op": "add", "path": "/baz", "value": "qux"}], {"baz": "qux", "foo": "bar"}),
        ({"foo": ["bar", "baz"]}, [{"op": "add", "path": "/foo/1", "value": "qux"}], {"foo": ["bar", "qux", "baz"]}),
        ({"foo": ["bar"]}, [{"op": "add", "path": "/foo/-", "value": ["abc"]}], {"foo": ["bar", ["abc"]]}),
        ({"baz": "qux", "foo": "bar"}, [{"op": "remove", "path": "/baz"}], {"foo": "bar"}),
        ({"foo": ["bar", "qux"]}, [{"op": "remove", "path": "/foo/1"}], {"foo": ["bar"]}),
        ({"baz": "qux"}, [{"op": "replace", "path": "/baz", "value": "boo"}], {"baz": "boo"}),
        ({"foo": [1, 2, 3]}, [{"op": "replace", "path": "/foo/1", "value": 9}], {"foo": [1, 9, 3]}),
        ({"a": {"b": 1}, "c": {}}, [{"op": "move", "from": "/a/b", "path": "/c/d"}], {"a": {}, "c": {"d": 1}}),
        ({"foo": ["a", "d", "b", "c"]}, [{"op": "move", "from": "/foo/1", "path": "/foo/3"}], {"foo": ["a", "b", "c", "d"]}),
        ({"a": [1]}, [{"op": "copy", "from": "/a", "path": "/b"}, {"op": "add", "path": "/b/-", "value": 2}], {"a": [1], "b": [1, 2]}),
        ({"/": 9, "~1": 1}, [{"op": "test", "path": "/~01", "value": 1}, {"op": "replace", "path": "/~1", "value": 8}], {"/": 8, "~1": 1}),
        ({"a": 1}, [{"op": "replace", "path": "", "value": {"b": 2}}], {"b": 2}),
        ({"a": 1}, [{"op": "move", "from": "/a", "path": "/a"}], {"a": 1}),
    ],
)
def test_json_patch(target: Any, operations: Any, expected: Any) -> None:
    assert patch.json_patch(target, operations) == expected


@pytest.mark.parametrize(
    "operations",
    [
        ["x"],
        [{"op": "add", "value": 1}],
        [{"op": "add", "path": "/a/b/c", "value": 1}],
        [{"op": "add", "path": "/list/3", "value": 1}],
        [{"op": "add", "path": "/list/01x", "value": 1}],
        [{"op": "remove", "path": "/nothing"}],
        [{"op": "remove", "path": "/list/-"}],
        [{"op": "replace", "path": "/nothing", "value": 1}],
        [{"op": "test", "path": "/list", "value": 1}],
        [{"op": "move", "from": "/list", "path": "/list/0"}],
        [{"op": "copy", "path": "/a"}],
        [{"op": "dance", "path": "/list"}],
        [{"op": "add", "path": "list", "value": 1}],
        [{"op": "add", "path": "/text/x", "value": 1}],
    ],
)
def test_json_patch_refuses(operations: Any) -> None:
    target = {"list": [1, 2], "text": "x"}
    with pytest.raises(InvalidInput):
        patch.json_patch(target, operations)
    assert target == {"list": [1, 2], "text": "x"}


def test_json_patch_is_bounded() -> None:
    with pytest.raises(TooLarge, match="operations"):
        patch.json_patch({}, [{"op": "add", "path": "/a", "value": 1}] * (patch.OPERATIONS_MAX + 1))
    doubling = [{"op": "copy", "from": "", "path": f"/{number}"} for number in range(60)]
    with pytest.raises(TooLarge, match="copies"):
        patch.json_patch({"a": 1}, doubling)


A: Any = {"name": "a", "image": "1", "env": [{"name": "X", "value": "1"}]}
B: Any = {"name": "b", "image": "2"}
CONTAINERS = {"containers": [A, B]}
SECRETS: Any = [{"name": "a"}, {"name": "b"}]
HTTP: Any = [{"port": 80, "protocol": "TCP", "name": "http"}]


@pytest.mark.parametrize(
    ("target", "change", "expected"),
    [
        (CONTAINERS, {"containers": [{"name": "b", "image": "3"}]}, {"containers": [A, {**B, "image": "3"}]}),
        (CONTAINERS, {"containers": [{"name": "a", "$patch": "delete"}]}, {"containers": [B]}),
        (CONTAINERS, {"containers": [{"name": "c"}, {"$patch": "replace"}]}, {"containers": [{"name": "c"}]}),
        (CONTAINERS, {"containers": None}, {}),
        ({"secrets": [{"name": "a"}]}, {"secrets": [{"name": "b"}]}, {"secrets": [{"name": "a"}, {"name": "b"}]}),
        ({"hosts": ["a"]}, {"hosts": ["b"]}, {"hosts": ["b"]}),
        ({"finalizers": ["a"]}, {"finalizers": ["b", "a"]}, {"finalizers": ["a", "b"]}),
        ({"finalizers": ["a", "b"]}, {"$deleteFromPrimitiveList/finalizers": ["a"]}, {"finalizers": ["b"]}),
        ({"secrets": SECRETS}, {"$setElementOrder/secrets": SECRETS[::-1]}, {"secrets": SECRETS[::-1]}),
        ({"a": {"b": 1, "c": 2}}, {"a": {"$retainKeys": ["c"]}}, {"a": {"c": 2}}),
        ({"a": {"b": 1}}, {"a": {"$patch": "replace", "c": 2}}, {"a": {"c": 2}}),
        ({"ports": [{"port": 80}]}, {"ports": HTTP}, {"ports": HTTP}),
    ],
)
def test_strategic(target: Any, change: Any, expected: Any) -> None:
    assert patch.strategic(target, change) == expected


_names = st.sampled_from(["a", "containers", "name", "env", "$patch"])
_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_names, inner, max_size=3),
    max_leaves=12,
)


@given(_json, _json)
def test_patches_change_nothing_of_what_they_get(target: Any, change: Any) -> None:
    before = repr((target, change))
    patch.merge(target, change)
    patch.strategic(target, change)
    assert repr((target, change)) == before


@given(_json, _json)
def test_merging_twice_is_merging_once(target: Any, change: Any) -> None:
    once = patch.merge(target, change)
    assert patch.merge(once, change) == once
