"""What happens at the door, for the kinds that people write beside InferenceServices."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flambeau.control.resources.admission import BUILT_IN_LABEL, review
from flambeau.control.resources.kind import Kind, Object, Review
from flambeau.control.resources.registry import KINDS


def admit(obj: Object, old: Object | None = None, *, strict: bool = True) -> Review:
    return review(KINDS.by_object(obj), obj, old, strict)


def core(kind: str, name: str = "x", **fields: Any) -> Object:
    return {"apiVersion": "v1", "kind": kind, "metadata": {"name": name, "namespace": "home", **fields.pop("metadata", {})}, **fields}


def errors(review: Review) -> dict[str, str]:
    return {finding.path: finding.message for finding in review.errors}


class TestEveryKind:
    def test_a_misspelt_field_at_any_depth(self) -> None:
        found = admit(core("Secret", metadata={"namespacea": "x"}))
        assert errors(found) == {"metadata.namespacea": 'unknown field "metadata.namespacea", did you mean "namespace"?'}

    def test_not_strict_means_warned(self) -> None:
        found = admit(core("Secret", metadata={"namespacea": "x"}), strict=False)
        assert found.errors == ()
        assert found.warnings == ('unknown field "metadata.namespacea", did you mean "namespace"?',)

    @pytest.mark.parametrize(
        ("metadata", "path"),
        [
            ({"name": "Upper"}, "metadata.name"),
            ({"name": "a_b"}, "metadata.name"),
            ({"name": ""}, "metadata.name"),
            ({"name": "x" * 254}, "metadata.name"),
            ({"labels": {"a": "has space"}}, "metadata.labels"),
            ({"labels": {"a": "x" * 64}}, "metadata.labels"),
            ({"labels": {"a/b/c": "x"}}, "metadata.labels"),
            ({"labels": {"a": 1}}, "metadata.labels.a"),
            ({"annotations": {"-a": "x"}}, "metadata.annotations"),
            ({"annotations": {"a": "x" * 300_000}}, "metadata.annotations"),
            ({"annotations": ["a"]}, "metadata.annotations"),
        ],
    )
    def test_names_labels_and_annotations(self, metadata: Object, path: str) -> None:
        assert list(errors(admit(core("ConfigMap", metadata=metadata)))) == [path]

    def test_good_metadata(self) -> None:
        metadata = {
            "name": "a.b-c",
            "labels": {"serving.kserve.io/x": "A_b.c", "empty": ""},
            "annotations": {"kubectl.kubernetes.io/last-applied-configuration": "{any text}"},
            "creationTimestamp": None,
        }
        obj = core("ConfigMap", metadata=metadata)
        assert admit(obj) == Review()
        assert "creationTimestamp" not in obj["metadata"]

    def test_a_status_is_not_the_users_to_create(self) -> None:
        obj = core("Pod", spec={"containers": [{"name": "c"}]}, status={"phase": "Running"})
        assert admit(obj) == Review()
        assert "status" not in obj

    def test_what_is_built_in_cannot_be_changed(self) -> None:
        old = core("ConfigMap", metadata={"labels": {BUILT_IN_LABEL: "true"}})
        assert errors(admit(core("ConfigMap"), old)) == {
            "metadata": "ConfigMap x is built in and shows how things are: it cannot be changed"
        }

    def test_a_namespace_is_labelled_with_its_name(self) -> None:
        obj = core("Namespace", "torchserve")
        assert admit(obj) == Review()
        assert obj["metadata"]["labels"] == {"kubernetes.io/metadata.name": "torchserve"}
        assert obj["status"] == {"phase": "Active"}
        assert list(errors(admit(core("Namespace", "a.b")))) == ["metadata.name"]


class TestSecret:
    def test_plain_texts_become_data_and_win(self) -> None:
        obj = core("Secret", stringData={"a": "new", "b": "ü"}, data={"a": "b2xk", "c": "Yw=="})
        assert admit(obj) == Review()
        assert obj["data"] == {"a": "bmV3", "b": base64.b64encode("ü".encode()).decode(), "c": "Yw=="}
        assert "stringData" not in obj
        assert obj["type"] == "Opaque"

    def test_a_value_that_is_not_base64_is_refused_and_not_repeated(self) -> None:
        found = admit(core("Secret", data={"key": "hunter2!"}))
        assert errors(found) == {"data[key]": "is not base64: write plain text under stringData instead of data"}
        assert "hunter2" not in repr(found)

    def test_base64_may_have_line_breaks(self) -> None:
        assert admit(core("Secret", data={"key": "YWJj\nZGVm\n"})) == Review()

    def test_a_number_needs_quotes(self) -> None:
        assert errors(admit(core("Secret", stringData={"port": 9000}))) == {
            "stringData.port": 'must be a string, found the number 9000: put it in quotes: "9000"'
        }

    def test_keys_and_size(self) -> None:
        assert list(errors(admit(core("Secret", stringData={"a/b": "x"})))) == ["data[a/b]"]
        assert "1048576" in errors(admit(core("Secret", stringData={"a": "x" * 1_100_000})))["data"]

    def test_type_and_immutable_data_stay(self) -> None:
        old = core("Secret", type="Opaque", data={"a": "Yw=="}, immutable=True)
        found = errors(admit(core("Secret", type="other", data={"a": "ZA=="}), old))
        assert list(found) == ["immutable", "data", "type"]
        assert admit(core("Secret", type="Opaque", data={"a": "Yw=="}, immutable=True), old) == Review()

    @pytest.mark.parametrize(
        ("annotations", "texts", "is_warned"),
        [
            ({"serving.kserve.io/s3-endpoint": "x"}, {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"}, False),
            ({"serving.kserve.io/s3-endpoint": "x"}, {"accesskey": "a", "secretkey": "b"}, True),
            ({"serving.kserve.io/s3-endpoint": "x", "serving.kserve.io/s3-useanoncredential": "true"}, {}, False),
            ({}, {"accesskey": "a"}, False),
        ],
    )
    def test_misspelt_s3_keys_are_warned_about_by_name(self, annotations: Object, texts: Object, is_warned: bool) -> None:
        warnings = admit(core("Secret", metadata={"annotations": annotations}, stringData=texts)).warnings
        assert bool(warnings) == is_warned
        if is_warned:
            assert "AWS_SECRET_ACCESS_KEY" in warnings[0]
            assert "keys found: accesskey, secretkey" in warnings[0]


class TestOtherCoreKinds:
    def test_config_map(self) -> None:
        obj = core("ConfigMap", data={"a": "x", "b": "y"}, binaryData={"b": "eQ==", "c": "no!"})
        assert list(errors(admit(obj))) == ["binaryData[c]", "binaryData[b]"]
        old = core("ConfigMap", data={"a": "x"}, immutable=True)
        assert list(errors(admit(core("ConfigMap", data={"a": "y"}, immutable=True), old))) == ["data"]

    def test_service_account(self) -> None:
        assert admit(core("ServiceAccount", secrets=[{"name": "s3creds"}])) == Review()
        assert errors(admit(core("ServiceAccount", secrets=["s3creds"]))) == {
            "secrets[0]": 'must be an object, found the string "s3creds"',
        }
        assert "names no secret" in admit(core("ServiceAccount", secrets=[{}])).warnings[0]
        assert "not with these" in admit(core("ServiceAccount", imagePullSecrets=[{"name": "x"}])).warnings[0]

    def test_pod(self) -> None:
        assert list(errors(admit(core("Pod", spec={})))) == ["spec.containers"]
        assert list(errors(admit(core("Pod")))) == ["spec"]
        warnings = admit(core("Pod", spec={"nodeName": "n", "containers": [{"name": "c", "image": "nginx"}]})).warnings
        assert warnings[0] == "spec: nodeName has no effect on one machine"
        assert "nginx cannot be run here" in warnings[1]
        assert admit(core("Pod", spec={"containers": [{"name": "c", "image": "x", "command": ["python"]}]})) == Review()

    def test_service_and_gateway_are_kept_and_say_that_they_do_nothing(self) -> None:
        assert "no effect" in admit(core("Service", spec={"ports": [{"port": 80, "targetPort": "http"}]})).warnings[0]
        assert list(errors(admit(core("Service", spec={"ports": [{"port": 99999}]})))) == ["spec.ports[0].port"]
        gateway = {
            "apiVersion": "networking.istio.io/v1beta1",
            "kind": "Gateway",
            "metadata": {"name": "g", "namespace": "home"},
            "spec": {"servers": [{"port": {"number": 80, "name": "http", "protocol": "HTTP"}, "hosts": ["*"]}]},
        }
        assert admit(gateway).errors == ()
        assert "one gateway" in admit(gateway).warnings[0]


FIELDS = (
    *("name", "namespace", "labels", "annotations", "spec", "status", "data", "stringData", "binaryData", "secrets", "containers", "model"),
    *("predictor", "pytorch", "env", "hosts", "http", "route", "match", "uri", "servers", "ports", "supportedModelFormats", "storageUris"),
)
words = st.sampled_from(FIELDS)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=4),
    max_leaves=25,
)


@given(kind=st.sampled_from(KINDS.all()), obj=st.dictionaries(words | st.just("metadata"), json_values, max_size=5))
def test_whatever_is_sent_gets_a_review(kind: Kind, obj: Object) -> None:
    assert isinstance(review(kind, obj, None), Review)
