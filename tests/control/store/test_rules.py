from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flambeau.control.resources.config_map import CONFIG_MAP
from flambeau.control.resources.kind import Kind, Object
from flambeau.control.resources.pod import POD
from flambeau.control.store import rules
from flambeau.foundation.errors import InvalidInput

NOW = 1_800_000_000.0

scalars = st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=8)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3), max_leaves=8
)
labels = st.dictionaries(st.sampled_from(["a", "b", "c"]), st.sampled_from(["x", "y"]), max_size=3)
store_owned = st.fixed_dictionaries(
    {},
    optional={
        "uid": st.just("mine"),
        "generation": st.integers(0, 99),
        "resourceVersion": st.just("77"),
        "deletionTimestamp": st.text(max_size=3),
    },
)


@st.composite
def pods(draw: st.DrawFn) -> Object:
    obj: Object = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "namespace": "home", **draw(store_owned)}}
    if draw(st.booleans()):
        obj["metadata"]["labels"] = draw(labels)
    for field in ("spec", "status"):
        if draw(st.booleans()):
            obj[field] = draw(values)
    return obj


def stored(obj: Object, kind: Kind = POD) -> Object:
    made = rules.created(obj, kind, name="p", uid="u-1", now=NOW)
    made["metadata"]["resourceVersion"] = "5"
    return made


@given(pods(), pods())
def test_a_write_leaves_status_and_what_the_store_says(first: Object, second: Object) -> None:
    current = stored(first)
    before = copy.deepcopy((current, second))
    new = rules.updated(current, second, POD, status=False)
    assert (current, second) == before
    assert new.get("status") == current.get("status")
    assert ("status" in new) == ("status" in current)
    for field in ("uid", "creationTimestamp", "resourceVersion", "deletionTimestamp"):
        assert new["metadata"].get(field) == current["metadata"].get(field)


@given(pods(), pods())
def test_generation_grows_exactly_when_the_content_changes(first: Object, second: Object) -> None:
    current = stored(first)
    new = rules.updated(current, second, POD, status=False)
    changed = rules.encode({"spec": new.get("spec", "none")}) != rules.encode({"spec": current.get("spec", "none")})
    assert new["metadata"]["generation"] == current["metadata"]["generation"] + changed


@given(pods(), pods())
def test_a_status_write_leaves_everything_else(first: Object, second: Object) -> None:
    current = stored(first)
    new = rules.updated(current, second, POD, status=True)
    assert {**new, "status": 0} == {**current, "status": 0}
    assert rules.encode({"s": new.get("status")}) == rules.encode({"s": second.get("status")})


@given(pods(), pods())
def test_writing_twice_is_writing_once(first: Object, second: Object) -> None:
    once = rules.updated(stored(first), second, POD, status=False)
    assert rules.encode(rules.updated(once, second, POD, status=False)) == rules.encode(once)


@given(pods())
def test_what_was_read_can_be_written_without_a_change(obj: Object) -> None:
    current = stored(obj)
    for status in (False, True):
        assert rules.encode(rules.updated(current, current, POD, status=status)) == rules.encode(current)


@given(pods())
def test_encoding_keeps_everything(obj: Object) -> None:
    assert rules.decode(rules.encode(obj)) == obj


def test_a_kind_without_status_keeps_a_field_of_that_name() -> None:
    current = stored({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "p", "namespace": "home"}}, CONFIG_MAP)
    new = rules.updated(current, {**current, "status": "mine"}, CONFIG_MAP, status=False)
    assert new["status"] == "mine"


@pytest.mark.parametrize("bad", [{"n": 2**70}, {"when": object()}, {1: "number as a key"}])
def test_what_is_no_json_is_refused(bad: Any) -> None:
    with pytest.raises(InvalidInput, match="not JSON"):
        rules.encode(bad)


def test_deletion_is_noted_once_and_a_namespace_says_so() -> None:
    marked = rules.marked_for_deletion({"kind": "Namespace", "metadata": {}, "status": {"phase": "Active", "x": 1}}, NOW)
    assert rules.is_being_deleted(marked)
    assert marked["status"] == {"phase": "Terminating", "x": 1}


def test_owners_are_known_by_uid() -> None:
    references = [{"uid": "a"}, {"name": "no uid"}, {"uid": "b"}, "no object"]
    assert rules.owner_uids({"metadata": {"ownerReferences": references}}) == {"a", "b"}
    assert rules.owner_uids({"metadata": {}}) == set()
