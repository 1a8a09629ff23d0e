from __future__ import annotations

from flambeau.control.resources.events import MESSAGE_CHARS_MAX, count_again, event_object
from flambeau.control.resources.kind import Object

POD: Object = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "namespace": "home", "uid": "u", "resourceVersion": "7"}}


def test_what_describe_needs() -> None:
    event = event_object(POD, "Warning", "BackOff", "restarting", "agent", 0)
    assert event["metadata"]["namespace"] == "home"
    assert event["involvedObject"] == {
        "apiVersion": "v1",
        "kind": "Pod",
        "namespace": "home",
        "name": "p",
        "uid": "u",
        "resourceVersion": "7",
    }
    assert (event["type"], event["reason"], event["message"], event["source"]) == (
        "Warning",
        "BackOff",
        "restarting",
        {"component": "agent"},
    )


def test_one_name_per_object_component_and_reason() -> None:
    def name(involved: Object = POD, reason: str = "A", component: str = "agent") -> str:
        return str(event_object(involved, "Normal", reason, "text", component, 0)["metadata"]["name"])

    assert name() == name()
    reborn = {**POD, "metadata": {**POD["metadata"], "uid": "other"}}
    assert len({name(), name(reborn), name(reason="B"), name(component="c")}) == 4
    long = {**POD, "metadata": {**POD["metadata"], "name": "x" * 253}}
    assert len(name(long)) == 253


def test_cluster_scoped_objects_have_theirs_in_default() -> None:
    runtime = {"apiVersion": "serving.kserve.io/v1alpha1", "kind": "ClusterServingRuntime", "metadata": {"name": "r", "uid": "u"}}
    assert event_object(runtime, "Normal", "A", "text", "c", 0)["metadata"]["namespace"] == "default"


def test_counting_and_cutting() -> None:
    event = event_object(POD, "Normal", "A", "first", "c", 0)
    count_again(event, "x" * 5000, 60)
    assert (event["count"], event["lastTimestamp"], event["firstTimestamp"]) == (2, "1970-01-01T00:01:00Z", "1970-01-01T00:00:00Z")
    assert len(event["message"]) == MESSAGE_CHARS_MAX
    assert event["message"].endswith("…")
