"""What every store must do, as ``control/store/interface.py`` says. Each implementation gets a fixture; tests know only the interface."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from flambeau.control.resources.kind import Key, Object
from flambeau.control.store.interface import Change, Event, Store, modify
from flambeau.control.store.sqlite import SqliteStore
from flambeau.foundation.errors import Conflict, InvalidInput, NotAllowed, NotFound

WAIT_SECONDS_MAX = 5


@pytest.fixture(params=["sqlite"])
def empty_store(tmp_path: Path) -> Iterator[Store]:
    store = SqliteStore.open(tmp_path / "store.db")
    yield store
    store.close()


@pytest.fixture
async def store(empty_store: Store) -> Store:
    await empty_store.create(namespace("home"))
    return empty_store


def namespace(name: str) -> Object:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}


def config(name: str = "a", **fields: Any) -> Object:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": "home"}, **fields}


def pod(name: str = "p", *, finalizers: list[str] | None = None, owner: Object | None = None, **fields: Any) -> Object:
    metadata: Object = {"name": name, "namespace": "home"}
    if finalizers:
        metadata["finalizers"] = finalizers
    if owner:
        reference = {"apiVersion": owner["apiVersion"], "kind": owner["kind"], "name": owner["metadata"]["name"]}
        metadata["ownerReferences"] = [{**reference, "uid": owner["metadata"]["uid"]}]
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, **fields}


def config_key(name: str = "a") -> Key:
    return Key("configmaps", "home", name)


def pod_key(name: str = "p") -> Key:
    return Key("pods", "home", name)


def version(obj: Object) -> int:
    return int(obj["metadata"]["resourceVersion"])


async def changes(store: Store, kind: str, since: int, count: int, namespace: str | None = None) -> list[Event]:
    async with store.watch(kind, namespace, since=since) as events:
        return [await asyncio.wait_for(anext(events), WAIT_SECONDS_MAX) for _ in range(count)]


class TestCreate:
    async def test_the_store_says_uid_time_version_and_generation(self, store: Store) -> None:
        wanted = config()
        wanted["metadata"].update(uid="mine", creationTimestamp="2001-01-01T00:00:00Z", resourceVersion="7", generation=9)
        made = await store.create(wanted)
        assert made["metadata"]["uid"] != "mine"
        assert made["metadata"]["creationTimestamp"] > "2020"
        assert made["metadata"]["resourceVersion"] != "7"
        assert made["metadata"]["generation"] == 1

    async def test_what_is_created_can_be_read(self, store: Store) -> None:
        made = await store.create(config(data={"k": "v"}))
        assert await store.get(config_key()) == made

    async def test_twice_is_a_conflict_that_says_so(self, store: Store) -> None:
        await store.create(config())
        with pytest.raises(Conflict) as caught:
            await store.create(config())
        assert caught.value.reason == "AlreadyExists"

    async def test_a_name_is_made_from_generate_name(self, store: Store) -> None:
        wanted = config()
        wanted["metadata"] = {"generateName": "a-", "namespace": "home"}
        names = {(await store.create(wanted))["metadata"]["name"] for _ in range(20)}
        assert len(names) == 20
        assert all(name.startswith("a-") and len(name) == 7 for name in names)

    async def test_the_namespace_must_be_there(self, store: Store) -> None:
        wanted = config()
        wanted["metadata"]["namespace"] = "elsewhere"
        with pytest.raises(NotFound, match="elsewhere"):
            await store.create(wanted)

    @pytest.mark.parametrize(("orphan", "finalizers", "stays"), [(True, [], True), (None, ["orphan"], True), (False, ["orphan"], False)])
    async def test_what_is_owned_may_stay(self, store: Store, orphan: bool | None, finalizers: list[str], stays: bool) -> None:
        owner = await store.create(pod("owner", finalizers=finalizers))
        before = await store.create(pod("owned", owner=owner))
        await store.delete(pod_key("owner"), orphan=orphan)
        with pytest.raises(NotFound):
            await store.get(pod_key("owner"))
        left = {each["metadata"]["name"]: each for each in (await store.list("pods", "home")).items}
        assert ("owned" in left) is stays
        if stays:
            after = left["owned"]["metadata"]
            assert "ownerReferences" not in after
            assert (after["uid"], after["generation"]) == (before["metadata"]["uid"], before["metadata"]["generation"])

    async def test_an_owner_that_is_held_lets_go_at_once(self, store: Store) -> None:
        owner, other = await store.create(pod("owner", finalizers=["a/b", "orphan"])), await store.create(pod("other"))
        owned = pod("owned", owner=owner)
        owned["metadata"]["ownerReferences"] += pod("", owner=other)["metadata"]["ownerReferences"]
        await store.create(owned)
        held = await store.delete(pod_key("owner"))
        assert held["metadata"]["finalizers"] == ["a/b"]
        left = await store.get(pod_key("owned"))
        assert [each["name"] for each in left["metadata"]["ownerReferences"]] == ["other"]
        await store.update({**held, "metadata": {**held["metadata"], "finalizers": []}})
        assert (await store.get(pod_key("owned")))["metadata"]["resourceVersion"] == left["metadata"]["resourceVersion"]

    async def test_the_owner_must_be_there(self, store: Store) -> None:
        owner = await store.create(pod("owner"))
        await store.delete(pod_key("owner"))
        with pytest.raises(NotFound, match="owner"):
            await store.create(pod("late", owner=owner))

    @pytest.mark.parametrize(
        "wanted",
        [
            {"apiVersion": "v1", "kind": "Unheard", "metadata": {"name": "a"}},
            {"kind": "ConfigMap", "metadata": {"name": "a"}},
            {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"namespace": "home"}},
            {"apiVersion": "v1", "kind": "ConfigMap"},
            {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}},
            {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "namespace": "home"}, "data": {"n": 2**70}},
        ],
    )
    async def test_no_kind_no_name_no_json(self, store: Store, wanted: Object) -> None:
        with pytest.raises(InvalidInput):
            await store.create(wanted)

    async def test_all_versions_of_a_kind_are_one_object(self, store: Store) -> None:
        wanted = {"apiVersion": "networking.istio.io/v1alpha3", "kind": "VirtualService", "metadata": {"name": "v", "namespace": "home"}}
        made = await store.create(wanted)
        assert made["apiVersion"] == "networking.istio.io/v1"
        same = await store.update({**made, "apiVersion": "networking.istio.io/v1beta1"})
        assert same == made


class TestCopies:
    async def test_changing_what_was_handed_out_changes_nothing(self, store: Store) -> None:
        wanted = config(data={"k": "v"})
        made = await store.create(wanted)
        wanted["data"]["k"] = made["data"]["k"] = "changed"
        read = await store.get(config_key())
        assert read["data"] == {"k": "v"}
        read["data"]["k"] = "changed"
        (listed,) = (await store.list("configmaps")).items
        assert listed["data"] == {"k": "v"}


class TestList:
    async def test_sorted_by_namespace_and_name_as_of_one_version(self, store: Store) -> None:
        await store.create(namespace("away"))
        for place, name in (("home", "b"), ("home", "a"), ("away", "c")):
            await store.create({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": place}})
        last = await store.create(pod())
        listing = await store.list("configmaps")
        assert [(item["metadata"]["namespace"], item["metadata"]["name"]) for item in listing.items] == [
            ("away", "c"),
            ("home", "a"),
            ("home", "b"),
        ]
        assert listing.resource_version == version(last)

    async def test_one_namespace(self, store: Store) -> None:
        await store.create(config())
        assert len((await store.list("configmaps", "home")).items) == 1
        assert (await store.list("configmaps", "away")).items == ()

    async def test_those_of_one_owner(self, store: Store) -> None:
        first, second = await store.create(config("a")), await store.create(config("b"))
        await store.create(pod("p", owner=first))
        await store.create(pod("q", owner=second))
        uid = first["metadata"]["uid"]
        assert [item["metadata"]["name"] for item in (await store.list("pods", "home", owner=uid)).items] == ["p"]
        assert (await store.list("configmaps", owner=uid)).items == ()
        await store.update({**await store.get(pod_key("q")), "metadata": pod("q", owner=first)["metadata"]})
        assert [item["metadata"]["name"] for item in (await store.list("pods", owner=uid)).items] == ["p", "q"]

    async def test_an_empty_store_has_a_version_above_zero(self, empty_store: Store) -> None:
        listing = await empty_store.list("pods")
        assert listing.items == ()
        assert listing.resource_version > 0


class TestUpdate:
    async def test_versions_grow_over_the_whole_store(self, store: Store) -> None:
        first = await store.create(config())
        second = await store.create(pod())
        third = await store.update({**first, "data": {"k": "v"}})
        assert version(first) < version(second) < version(third)

    async def test_a_write_that_changes_nothing_is_no_write(self, store: Store) -> None:
        made = await store.create(config(data={"a": "1", "b": "2"}))
        again = await store.update(config(data={"b": "2", "a": "1"}))
        assert again == made
        await store.create(config("next"))
        (event, following) = await changes(store, "configmaps", version(made) - 1, 2)
        assert (event.change, following.object["metadata"]["name"]) == (Change.ADDED, "next")

    async def test_true_is_not_one(self, store: Store) -> None:
        made = await store.create(pod(spec={"a": 1}))
        changed = await store.update({**made, "spec": {"a": True}})
        assert changed["spec"]["a"] is True
        assert version(changed) > version(made)

    async def test_an_old_version_is_a_conflict(self, store: Store) -> None:
        made = await store.create(config())
        await store.update({**made, "data": {"k": "1"}})
        with pytest.raises(Conflict) as caught:
            await store.update({**made, "data": {"k": "2"}})
        assert caught.value.reason == "Conflict"
        assert (await store.get(config_key()))["data"] == {"k": "1"}

    async def test_without_a_version_the_write_happens_always(self, store: Store) -> None:
        made = await store.create(config())
        await store.update({**made, "data": {"k": "1"}})
        assert (await store.update(config(data={"k": "2"})))["data"] == {"k": "2"}

    async def test_generation_counts_what_is_outside_metadata_and_status(self, store: Store) -> None:
        made = await store.create(pod(spec={"a": 1}))
        made["metadata"]["labels"] = {"x": "y"}
        labelled = await store.update(made)
        assert labelled["metadata"]["generation"] == 1
        reported = await store.update({**labelled, "status": {"phase": "Running"}}, status=True)
        assert reported["metadata"]["generation"] == 1
        changed = await store.update({**reported, "spec": {"a": 2}})
        assert changed["metadata"]["generation"] == 2

    async def test_a_status_write_takes_only_the_status(self, store: Store) -> None:
        made = await store.create(pod(spec={"a": 1}))
        made["spec"] = {"a": 2}
        made["metadata"]["labels"] = {"x": "y"}
        reported = await store.update({**made, "status": {"phase": "Running"}}, status=True)
        assert reported["spec"] == {"a": 1}
        assert "labels" not in reported["metadata"]
        assert reported["status"] == {"phase": "Running"}

    async def test_a_write_leaves_the_status(self, store: Store) -> None:
        made = await store.create(pod(spec={"a": 1}))
        await store.update({**made, "status": {"phase": "Running"}}, status=True)
        changed = await store.update(pod(spec={"a": 2}, status={"phase": "Failed"}))
        assert changed["status"] == {"phase": "Running"}

    async def test_a_kind_without_status_has_none_to_write(self, store: Store) -> None:
        made = await store.create(config())
        with pytest.raises(NotAllowed):
            await store.update(made, status=True)

    async def test_what_the_store_says_cannot_be_overwritten(self, store: Store) -> None:
        made = await store.create(config())
        wanted = config(data={"k": "v"})
        wanted["metadata"].update(creationTimestamp="2001-01-01T00:00:00Z", generation=77, deletionTimestamp="2001-01-01T00:00:00Z")
        changed = await store.update(wanted)
        assert changed["metadata"] == {**made["metadata"], "resourceVersion": changed["metadata"]["resourceVersion"], "generation": 2}

    async def test_not_there(self, store: Store) -> None:
        with pytest.raises(NotFound):
            await store.update(config())

    async def test_another_one_by_that_name(self, store: Store) -> None:
        old = await store.create(config())
        await store.delete(config_key())
        await store.create(config())
        del old["metadata"]["resourceVersion"]
        with pytest.raises(NotFound):
            await store.update(old)

    async def test_modify_reads_changes_and_writes(self, store: Store) -> None:
        await store.create(config(data={"n": ""}))

        def add(obj: Object) -> None:
            obj["data"]["n"] += "x"

        await asyncio.gather(*(modify(store, config_key(), add) for _ in range(5)))
        assert (await store.get(config_key()))["data"]["n"] == "xxxxx"


class TestDelete:
    async def test_without_finalizers_it_goes_at_once(self, store: Store) -> None:
        await store.create(config())
        last = await store.delete(config_key())
        assert last["metadata"]["name"] == "a"
        with pytest.raises(NotFound):
            await store.get(config_key())

    async def test_not_there(self, store: Store) -> None:
        with pytest.raises(NotFound):
            await store.delete(config_key())

    async def test_the_uid_must_be_the_objects(self, store: Store) -> None:
        made = await store.create(config())
        with pytest.raises(Conflict):
            await store.delete(config_key(), uid="another")
        await store.delete(config_key(), uid=made["metadata"]["uid"])

    async def test_finalizers_hold_it_until_the_last_is_removed(self, store: Store) -> None:
        made = await store.create(pod(finalizers=["x/one", "x/two"]))
        going = await store.delete(pod_key())
        assert going["metadata"]["deletionTimestamp"]
        again = await store.delete(pod_key())
        assert version(again) == version(going)
        going["metadata"]["finalizers"] = ["x/two"]
        going = await store.update(going)
        going["metadata"]["finalizers"] = []
        await store.update(going)
        with pytest.raises(NotFound):
            await store.get(pod_key())
        kinds = [event.change for event in await changes(store, "pods", version(made) - 1, 4)]
        assert kinds == [Change.ADDED, Change.MODIFIED, Change.MODIFIED, Change.DELETED]

    async def test_removing_finalizers_of_what_stays_deletes_nothing(self, store: Store) -> None:
        made = await store.create(pod(finalizers=["x/one"]))
        made["metadata"]["finalizers"] = []
        await store.update(made)
        assert await store.get(pod_key())

    async def test_no_new_finalizers_on_what_is_going(self, store: Store) -> None:
        await store.create(pod(finalizers=["x/one"]))
        going = await store.delete(pod_key())
        going["metadata"]["finalizers"].append("x/two")
        with pytest.raises(InvalidInput):
            await store.update(going)

    async def test_a_status_can_be_written_while_it_goes(self, store: Store) -> None:
        await store.create(pod(finalizers=["x/one"]))
        going = await store.delete(pod_key())
        assert (await store.update({**going, "status": {"phase": "Failed"}}, status=True))["status"] == {"phase": "Failed"}

    async def test_what_it_owns_goes_with_it_in_the_same_step(self, store: Store) -> None:
        owner = await store.create(pod("owner"))
        child = await store.create(pod("child", owner=owner))
        await store.create(pod("grandchild", owner=child, finalizers=["x/one"]))
        await store.delete(pod_key("owner"))
        with pytest.raises(NotFound):
            await store.get(pod_key("child"))
        grandchild = await store.get(pod_key("grandchild"))
        assert grandchild["metadata"]["deletionTimestamp"]

    async def test_what_it_owns_stays_while_finalizers_hold_it(self, store: Store) -> None:
        owner = await store.create(pod("owner", finalizers=["x/one"]))
        await store.create(pod("child", owner=owner))
        going = await store.delete(pod_key("owner"))
        assert await store.get(pod_key("child"))
        going["metadata"]["finalizers"] = []
        await store.update(going)
        with pytest.raises(NotFound):
            await store.get(pod_key("child"))

    async def test_owners_that_own_each_other_both_go(self, store: Store) -> None:
        one = await store.create(pod("one"))
        two = await store.create(pod("two", owner=one))
        one["metadata"]["ownerReferences"] = pod(owner=two)["metadata"]["ownerReferences"]
        await store.update(one)
        await store.delete(pod_key("one"))
        assert (await store.list("pods")).items == ()


class TestNamespaces:
    async def test_an_empty_one_goes_at_once(self, store: Store) -> None:
        await store.delete(Key("namespaces", "", "home"))
        with pytest.raises(NotFound):
            await store.get(Key("namespaces", "", "home"))

    async def test_it_takes_its_objects_with_it(self, store: Store) -> None:
        owner = await store.create(pod("owner"))
        await store.create(pod("child", owner=owner))
        await store.create(config())
        await store.delete(Key("namespaces", "", "home"))
        for kind in ("pods", "configmaps", "namespaces"):
            assert (await store.list(kind)).items == ()

    async def test_it_waits_for_what_finalizers_hold_and_takes_nothing_new(self, store: Store) -> None:
        await store.create(pod(finalizers=["x/one"]))
        await store.create(config())
        going = await store.delete(Key("namespaces", "", "home"))
        assert going["status"]["phase"] == "Terminating"
        with pytest.raises(NotFound):
            await store.get(config_key())
        with pytest.raises(NotFound, match="being deleted"):
            await store.create(config("new"))
        held = await store.get(pod_key())
        held["metadata"]["finalizers"] = []
        await store.update(held)
        with pytest.raises(NotFound):
            await store.get(Key("namespaces", "", "home"))

    async def test_its_own_finalizers_hold_it_too(self, store: Store) -> None:
        wanted = namespace("held")
        wanted["metadata"]["finalizers"] = ["x/one"]
        await store.create(wanted)
        key = Key("namespaces", "", "held")
        going = await store.delete(key)
        going["metadata"]["finalizers"] = []
        await store.update(going)
        with pytest.raises(NotFound):
            await store.get(key)

    async def test_it_can_be_made_again(self, store: Store) -> None:
        await store.delete(Key("namespaces", "", "home"))
        await store.create(namespace("home"))
        assert await store.create(config())


class TestWatch:
    async def test_every_change_once_in_order_with_what_was_before(self, store: Store) -> None:
        since = (await store.list("configmaps")).resource_version
        async with store.watch("configmaps", since=since) as events:
            made = await store.create(config())
            changed = await store.update({**made, "data": {"k": "v"}})
            await store.create(pod())
            last = await store.delete(config_key())
            seen = [await asyncio.wait_for(anext(events), WAIT_SECONDS_MAX) for _ in range(3)]
        assert seen == [
            Event(Change.ADDED, made, None),
            Event(Change.MODIFIED, changed, made),
            Event(Change.DELETED, last, changed),
        ]
        assert version(last) > version(changed)

    async def test_what_happened_before_it_was_opened_is_replayed(self, store: Store) -> None:
        since = (await store.list("configmaps")).resource_version
        made = await store.create(config())
        assert [event.object for event in await changes(store, "configmaps", since, 1)] == [made]

    async def test_only_the_namespace_asked_for(self, store: Store) -> None:
        since = (await store.list("configmaps")).resource_version
        await store.create(namespace("away"))
        await store.create({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "far", "namespace": "away"}})
        await store.create(config("near"))
        (event,) = await changes(store, "configmaps", since, 1, "home")
        assert event.object["metadata"]["name"] == "near"

    async def test_it_waits_for_the_next_change(self, store: Store) -> None:
        since = (await store.list("configmaps")).resource_version
        async with store.watch("configmaps", since=since) as events:
            waiting = asyncio.ensure_future(anext(events))
            await asyncio.sleep(0)
            assert not waiting.done()
            made = await store.create(config())
            assert (await asyncio.wait_for(waiting, WAIT_SECONDS_MAX)).object == made

    async def test_watchers_do_not_share_objects(self, store: Store) -> None:
        since = (await store.list("configmaps")).resource_version
        async with store.watch("configmaps", since=since) as one, store.watch("configmaps", since=since) as other:
            await store.create(config(data={"k": "v"}))
            (await anext(one)).object["data"]["k"] = "changed"
            assert (await anext(other)).object["data"] == {"k": "v"}

    async def test_a_version_of_the_future_is_expired(self, store: Store) -> None:
        async with store.watch("configmaps", since=10_000) as events:
            with pytest.raises(Conflict) as caught:
                await asyncio.wait_for(anext(events), WAIT_SECONDS_MAX)
        assert caught.value.reason == "Expired"
