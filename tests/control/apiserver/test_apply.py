"""Server-side apply, and who owns what."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flambeau.control.apiserver import apply, ownership
from flambeau.control.resources.kind import Object

NOW, LATER = "2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"


def config(**spec: Any) -> Object:
    return {"apiVersion": "v1", "kind": "Thing", "metadata": {"name": "x"}, "spec": spec}


def applied(live: Object, wanted: Object, manager: str = "me", *, force: bool = False, now: str = NOW) -> Object:
    result = apply.apply(live, wanted, manager, now, force=force)
    ownership.write(result.obj, result.owners)
    return result.obj


def updated(live: Object, new: Object, manager: str) -> Object:
    result = json.loads(json.dumps(new))
    owners = ownership.after_update(ownership.read(live), live, result, manager, NOW)
    ownership.write(result, owners)
    return dict(result)


def test_what_is_left_out_goes() -> None:
    first = applied({}, config(a=1, b={"c": 2, "d": 3}, containers=[{"name": "x", "image": "i"}, {"name": "y"}]))
    second = applied(first, config(b={"c": 2}, containers=[{"name": "y", "image": "j"}]))
    assert second["spec"] == {"b": {"c": 2}, "containers": [{"name": "y", "image": "j"}]}
    assert applied(second, config(e=1))["spec"] == {"e": 1}


def test_what_others_set_stays() -> None:
    first = applied({}, config(a=1))
    other = updated(first, {**first, "spec": {"a": 1, "defaulted": True}}, "other")
    assert applied(other, config())["spec"] == {"defaulted": True}


def test_our_own_commands_are_one_writer() -> None:
    first = applied({}, config(a=1, percent=20), "flambeau")
    undone = updated(first, {**first, "spec": {"a": 1, "percent": 0}}, "flambeau")
    promoted = applied(undone, config(a=1), "flambeau")
    assert promoted["spec"] == {"a": 1}
    assert [(owner.manager, owner.operation) for owner in ownership.read(promoted)] == [("flambeau", "Apply")]
    assert applied(promoted, config(a=1), "flambeau") == promoted


def test_shared_fields_stay_until_both_let_go() -> None:
    one = applied({}, config(a=1), "one")
    both = applied(one, config(a=1), "two")
    assert {owner.manager for owner in ownership.read(both)} == {"one", "two"}
    left = applied(both, config(), "one")
    assert left["spec"] == {"a": 1}
    assert applied(left, config(), "two")["spec"] == {}


def test_conflicts_name_manager_and_field() -> None:
    first = applied({}, config(a=1, containers=[{"name": "x", "image": "i"}]))
    changed = json.loads(json.dumps(first))
    changed["spec"]["containers"][0]["image"] = "j"
    other = updated(first, changed, "other")
    with pytest.raises(apply.ApplyConflict, match=r'conflict with "other": \.spec\.containers\[name="x"\]\.image') as caught:
        applied(other, config(a=1, containers=[{"name": "x", "image": "k"}]))
    assert caught.value.owned == (("other", '.spec.containers[name="x"].image'),)
    forced = applied(other, config(a=1, containers=[{"name": "x", "image": "k"}]), force=True)
    assert forced["spec"]["containers"] == [{"name": "x", "image": "k"}]
    assert [owner.manager for owner in ownership.read(forced)] == ["me"]


def test_the_same_again_changes_nothing() -> None:
    first = applied({}, config(a=1, list=[1, 2], empty={}))
    assert applied(first, config(a=1, list=[1, 2], empty={}), now=LATER) == first


def test_sets_are_united() -> None:
    wanted = {**config(), "metadata": {"name": "x", "finalizers": ["a"]}}
    live = {**config(), "metadata": {"name": "x", "finalizers": ["b"]}}
    both = applied(live, wanted)
    assert both["metadata"]["finalizers"] == ["b", "a"]
    assert applied(both, config())["metadata"]["finalizers"] == ["b"]


def test_kubectl_may_go_on_where_its_client_side_apply_left() -> None:
    last = config(a=1)
    live = {**last, "metadata": {"name": "x", "annotations": {"kubectl.kubernetes.io/last-applied-configuration": json.dumps(last)}}}
    live = updated({}, live, "kubectl-client-side-apply")
    assert applied(live, config(a=2), "kubectl")["spec"] == {"a": 2}
    with pytest.raises(apply.ApplyConflict):
        applied(live, config(a=2), "somebody")
    changed = updated(live, {**live, "spec": {"a": 5}}, "other")
    with pytest.raises(apply.ApplyConflict):
        applied(changed, config(a=2), "kubectl")


def test_status_and_the_servers_fields_have_no_owner() -> None:
    live = {**config(a=1), "status": {"ready": True}}
    live["metadata"] |= {"uid": "u", "resourceVersion": "5", "generation": 2, "creationTimestamp": NOW}
    result = applied(live, {**config(a=1), "status": {"ready": False}})
    assert result["status"] == {"ready": True}
    assert ownership.read(result)[0].fields == {("f:spec", "f:a")}


def test_entries_that_make_no_sense_are_left_out() -> None:
    good = {
        "manager": "m",
        "operation": "Update",
        "apiVersion": "v1",
        "time": NOW,
        "fieldsType": "FieldsV1",
        "fieldsV1": {"f:spec": {"f:a": {}}},
    }
    deep: dict[str, Any] = {}
    for _ in range(500):
        deep = {"f:a": deep}
    wrong: list[Any] = [5, {}, {**good, "manager": 5}, {**good, "fieldsV1": []}, {**good, "fieldsV1": {"x": {}}}]
    wrong += [{**good, "fieldsV1": {"k:nothing": {}}}, {**good, "fieldsV1": {"f:a": 5}}, {**good, "fieldsV1": deep}]
    for entries in (5, [*wrong, good]):
        obj = {"metadata": {"managedFields": entries}}
        assert [owner.manager for owner in ownership.read(obj)] == (["m"] if entries != 5 else [])


def test_owners_are_bounded() -> None:
    obj: Object = {"metadata": {}}
    for number in range(ownership.ENTRIES_MAX + 5):
        obj = updated(obj, {"metadata": {}, "spec": {**obj.get("spec", {}), f"f{number}": 1}}, f"m{number}") | {"spec": {"a": 1}}
    assert len(ownership.read(obj)) <= ownership.ENTRIES_MAX


_spec = st.dictionaries(
    st.sampled_from(["a", "b", "containers", "finalizers"]),
    st.recursive(st.integers() | st.text(max_size=2), lambda inner: st.dictionaries(st.sampled_from("ab"), inner, max_size=2), max_leaves=4)
    | st.lists(st.fixed_dictionaries({"name": st.sampled_from("xyz")}), max_size=3, unique_by=lambda item: item["name"])
    | st.lists(st.text(max_size=2), max_size=3, unique=True),
    max_size=4,
)


@given(_spec, _spec)
def test_a_single_applier_gets_what_it_wants(first: Object, second: Object) -> None:
    """After two applies by one manager of a new object, no leaf is there that the second doesn't name, and all that it names are."""
    live = applied(applied({}, config(**first)), config(**second), force=True)
    assert {path for path in ownership.leaves(live) if path[0] == "f:spec" and len(path) > 1} >= {
        path for path in ownership.leaves(config(**second)) if path[0] == "f:spec" and len(path) > 1
    }
    again = applied(live, config(**second), now=LATER)
    assert again == live


@given(_spec)
def test_owners_survive_being_written(spec: Object) -> None:
    obj = applied({}, config(**spec))
    owners = ownership.read(obj)
    ownership.write(obj, owners)
    assert ownership.read(obj) == owners
