"""A container's environment."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from flambeau.control.agent.environment import expand, inherited, sources_of, variables
from flambeau.foundation.errors import FlambeauError, NotFound

POD = {"metadata": {"name": "p", "namespace": "ns", "uid": "u"}, "spec": {}}
SECRET = {"data": {"key": base64.b64encode(b"hidden").decode()}}
SOURCES = {("Secret", "s"): SECRET, ("ConfigMap", "c"): {"data": {"a": "1"}}, ("Secret", "absent"): None}


def given(*env: dict[str, Any], **more: Any) -> dict[str, str]:
    return variables(POD, {"env": list(env), **more}, SOURCES, address="127.1.2.3")


def test_values_refer_to_those_before_them() -> None:
    made = given({"name": "A", "value": "x"}, {"name": "B", "value": "$(A)/$(LATER)/$$(A)"}, {"name": "LATER", "value": "y"})
    assert made["B"] == "x/$(LATER)/$(A)"


def test_values_come_from_secrets_config_maps_and_the_pod() -> None:
    made = given(
        {"name": "S", "valueFrom": {"secretKeyRef": {"name": "s", "key": "key"}}},
        {"name": "C", "valueFrom": {"configMapKeyRef": {"name": "c", "key": "a"}}},
        {"name": "N", "valueFrom": {"fieldRef": {"fieldPath": "metadata.namespace"}}},
        {"name": "I", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
        envFrom=[{"prefix": "P_", "configMapRef": {"name": "c"}}],
    )
    assert made == {"P_a": "1", "S": "hidden", "C": "1", "N": "ns", "I": "127.1.2.3"}


@pytest.mark.parametrize(
    ("reference", "words"),
    [
        ({"name": "absent", "key": "key"}, 'Secret "absent" is not there'),
        ({"name": "s", "key": "other"}, 'Secret "s" has no key "other"'),
    ],
)
def test_what_is_missing_is_named(reference: dict[str, Any], words: str) -> None:
    with pytest.raises(NotFound, match=words) as caught:
        given({"name": "S", "valueFrom": {"secretKeyRef": reference}})
    assert caught.value.reason == "CreateContainerConfigError"
    assert given({"name": "S", "valueFrom": {"secretKeyRef": {**reference, "optional": True}}}) == {}


def test_an_unknown_field_is_refused() -> None:
    with pytest.raises(FlambeauError, match=r"variable N: this machine can't give a value from spec\.priority"):
        given({"name": "N", "valueFrom": {"fieldRef": {"fieldPath": "spec.priority"}}})


@pytest.mark.parametrize(
    ("origin", "value"),
    [
        ({"fieldRef": {"fieldPath": "spec.nodeName"}}, "flambeau"),
        ({"fieldRef": {"fieldPath": "metadata.labels['app']"}}, "mnist"),
        ({"fieldRef": {"fieldPath": "metadata.annotations['none']"}}, ""),
        ({"resourceFieldRef": {"resource": "limits.cpu"}}, "2"),
        ({"resourceFieldRef": {"resource": "limits.memory", "divisor": "1Mi"}}, "512"),
        ({"resourceFieldRef": {"resource": "requests.cpu", "divisor": "1m"}}, "1500"),
    ],
)
def test_fields_and_resources_of_the_pod_are_values(origin: dict[str, Any], value: str) -> None:
    container = {"name": "c", "env": [{"name": "N", "valueFrom": origin}], "resources": {"limits": {"cpu": "1500m", "memory": "512Mi"}}}
    pod = {**POD, "metadata": {**POD["metadata"], "labels": {"app": "mnist"}}, "spec": {"containers": [container]}}
    assert variables(pod, container, SOURCES, address="127.1.2.3") == {"N": value}


def test_every_source_is_named_before_it_is_read() -> None:
    container = {
        "envFrom": [{"secretRef": {"name": "a"}}],
        "env": [{"name": "S", "valueFrom": {"configMapKeyRef": {"name": "b", "key": "k"}}}],
    }
    assert list(sources_of(container)) == [("Secret", "a"), ("ConfigMap", "b")]


def test_secrets_of_the_control_plane_reach_no_pod() -> None:
    machine = {"PATH": "/bin", "LC_ALL": "C", "AWS_SECRET_ACCESS_KEY": "hidden", "FLAMBEAU_TOKEN": "hidden"}
    assert inherited(machine) == {"PATH": "/bin", "LC_ALL": "C"}


def test_expanding_leaves_what_it_does_not_know() -> None:
    assert expand("$(A) $B ${C} $(", {"A": "x"}) == "x $B ${C} $("
