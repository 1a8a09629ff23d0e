from __future__ import annotations

from typing import Any

import pytest

from flambeau.control.resources.admission import review
from flambeau.control.resources.builtin import builtin_objects
from flambeau.control.resources.kind import Object
from flambeau.control.resources.runtime_selection import effective_protocol, select_runtime
from flambeau.control.resources.serving_runtime import CLUSTER_SERVING_RUNTIME, SERVING_RUNTIME

BUILT_IN = [obj for obj in builtin_objects(gateway_port=8000) if obj["kind"] == "ClusterServingRuntime"]


def runtime(name: str, *formats: Object, created: str = "2026-01-01T00:00:00Z", annotations: Object | None = None, **spec: Any) -> Object:
    return {
        "apiVersion": "serving.kserve.io/v1alpha1",
        "kind": "ServingRuntime",
        "metadata": {"name": name, "creationTimestamp": created, "annotations": annotations or {}},
        "spec": {"supportedModelFormats": list(formats), "containers": [{"name": "kserve-container"}], **spec},
    }


def model_format(name: str = "pytorch", version: str = "1", *, auto: bool = True, **fields: Any) -> Object:
    return {"name": name, "version": version, "autoSelect": auto, **fields}


def model(name: str = "pytorch", version: str = "", **fields: Any) -> Object:
    return {"modelFormat": {"name": name, **({"version": version} if version else {})}, **fields}


def chosen(wanted: Object, namespace: list[Object], cluster: list[Object] | None = None) -> str:
    selection = select_runtime(wanted, namespace, cluster or [], {})
    assert selection.runtime is not None, selection.message
    return str(selection.runtime["metadata"]["name"])


def test_the_one_that_was_chosen_stays_as_long_as_it_fits() -> None:
    old, new = runtime("old", model_format(priority=1)), runtime("new", model_format(priority=2))
    for each in (old, new):
        each["metadata"]["namespace"] = "home"
    kept = select_runtime(model(), [old, new], [], {"servingRuntimeName": "old"})
    assert (kept.runtime, kept.newer) == (old, "new")
    assert select_runtime(model(), [old, new], [], {"servingRuntimeName": "new"}).newer == ""
    old["spec"]["disabled"] = True
    assert select_runtime(model(), [old, new], [], {"servingRuntimeName": "old"}).runtime is new


@pytest.mark.parametrize(
    ("other", "clashes"),
    [
        (runtime("other", model_format(priority=2)), True),
        (runtime("other", model_format(priority=3)), False),
        (runtime("other", model_format()), False),
        (runtime("other", model_format(priority=2, auto=False)), False),
        (runtime("other", model_format(version="2", priority=2)), False),
        (runtime("other", model_format("onnx", priority=2)), False),
        (runtime("other", model_format(priority=2), protocolVersions=["v2"]), True),
        (runtime("other", model_format(priority=2), disabled=True), False),
    ],
)
def test_two_runtimes_cannot_have_the_same_priority(other: Object, clashes: bool) -> None:
    assert SERVING_RUNTIME.check_among is not None
    mine = runtime("mine", model_format("sklearn"), model_format(priority=2))
    found = [(each.path, each.message) for each in SERVING_RUNTIME.check_among(mine, [other])]
    assert [path for path, _ in found] == (["spec.supportedModelFormats[1].priority"] if clashes else [])
    apart = runtime("mine", model_format(priority=2), protocolVersions=["v1"])
    assert not list(SERVING_RUNTIME.check_among(apart, [runtime("other", model_format(priority=2), protocolVersions=["v2"])]))


def test_the_built_in_ones_leave_no_choice_to_chance() -> None:
    assert CLUSTER_SERVING_RUNTIME.check_among is not None
    for each in BUILT_IN:
        others = [other for other in BUILT_IN if other is not each]
        assert list(CLUSTER_SERVING_RUNTIME.check_among(each, others)) == []


def test_pytorch_gets_the_built_in_one() -> None:
    selection = select_runtime(model(), [], BUILT_IN, {})
    assert selection.runtime is BUILT_IN[0]
    assert selection.is_cluster_scoped
    assert effective_protocol(model(), BUILT_IN[0]) == "v1"
    assert effective_protocol(model(protocolVersion="v2"), BUILT_IN[0]) == "v2"


@pytest.mark.parametrize(
    ("wanted", "name"),
    [
        (model("sklearn"), "kserve-sklearnserver"),
        (model("sklearn", "1", protocolVersion="v1"), "kserve-sklearnserver"),
        (model("sklearn", protocolVersion="v2"), "kserve-mlserver"),
        (model("sklearn", protocolVersion="v2", runtime="kserve-sklearnserver"), "kserve-sklearnserver"),
        (model("xgboost"), "kserve-xgbserver"),
        (model("lightgbm"), "kserve-lgbserver"),
        (model("huggingface"), "kserve-huggingfaceserver"),
        (model("onnx"), "flambeau-server"),
        (model("onnx", protocolVersion="v2"), "kserve-tritonserver"),
        (model("torchscript"), "flambeau-server"),
        (model("pytorch", runtime="flambeau-server"), "flambeau-server"),
        (model("triton", protocolVersion="v2"), "kserve-tritonserver"),
    ],
)
def test_each_format_gets_kserves_runtime(wanted: Object, name: str) -> None:
    assert chosen(wanted, [], BUILT_IN) == name


@pytest.mark.parametrize("name", ["tensorflow", "pmml", "paddle", "vLLM"])
def test_formats_that_nothing_here_serves_are_told_so(name: str) -> None:
    selection = select_runtime(model(name), [], BUILT_IN, {})
    assert (selection.runtime, selection.reason) == (None, "NoSupportingRuntime")
    assert "apply a ServingRuntime whose container has a command that exists on this machine" in selection.message


def test_the_namespaces_come_before_the_clusters() -> None:
    assert chosen(model(), [runtime("mine", model_format())], BUILT_IN) == "mine"


@pytest.mark.parametrize(
    ("runtimes", "first"),
    [
        ([runtime("a", model_format(priority=1)), runtime("b", model_format(priority=2))], "b"),
        ([runtime("a", model_format()), runtime("b", model_format(priority=1))], "b"),
        ([runtime("a", model_format()), runtime("b", model_format(), created="2026-02-01T00:00:00Z")], "b"),
        ([runtime("b", model_format()), runtime("a", model_format())], "a"),
        ([runtime("a", model_format(), protocolVersions=["v2", "v1"]), runtime("b", model_format(), protocolVersions=["v1"])], "a"),
        ([runtime("a", model_format(auto=False)), runtime("b", model_format())], "b"),
        ([runtime("a", model_format(), disabled=True), runtime("b", model_format())], "b"),
        ([runtime("a", model_format(), multiModel=True), runtime("b", model_format())], "b"),
        ([runtime("a", model_format(), protocolVersions=["v2"]), runtime("b", model_format())], "b"),
    ],
)
def test_preference(runtimes: list[Object], first: str) -> None:
    assert chosen(model(), runtimes) == first


def test_versions_are_compared_as_text() -> None:
    assert chosen(model(version="1"), [runtime("a", model_format(version="2")), runtime("b", model_format(version="1"))]) == "b"
    assert select_runtime(model(version="1.0"), [runtime("a", model_format(version="1"))], [], {}).runtime is None


def test_nothing_fits_and_each_one_says_why() -> None:
    runtimes = [
        runtime("off", model_format(), disabled=True),
        runtime("shy", model_format(auto=False)),
        runtime("modern", model_format(), protocolVersions=["v2"]),
        runtime("other", model_format("onnx")),
    ]
    selection = select_runtime(model(), runtimes, [], {})
    assert (selection.runtime, selection.reason) == (None, "NoSupportingRuntime")
    for text in (
        "no runtime supports a model of format pytorch with protocol v1",
        "off: it is disabled",
        "shy: it is not selected by itself (autoSelect is off): set model.runtime to shy",
        "modern: it speaks v2: set model.protocolVersion",
        "other: it supports onnx:1",
    ):
        assert text in selection.message
    assert "there are no runtimes" in select_runtime(model(), [], [], {}).message


def test_many_rejections_are_not_all_listed() -> None:
    message = select_runtime(model("nope"), [runtime(f"r{n}", model_format()) for n in range(30)], [], {}).message
    assert "; and 18 more; " in message


@pytest.mark.parametrize(
    ("fields", "reason", "text"),
    [
        ({"runtime": "gone"}, "RuntimeNotRecognized", "there is no runtime gone in this namespace or the cluster; there are: off, only-v2"),
        ({"runtime": "off"}, "RuntimeDisabled", "it is disabled"),
        ({"runtime": "only-v2", "protocolVersion": "v1"}, "NoSupportingRuntime", "it speaks v2"),
        ({"runtime": "only-v2", "modelFormat": {"name": "onnx"}}, "NoSupportingRuntime", "it supports pytorch:1"),
    ],
)
def test_the_one_asked_for_is_of_no_use(fields: Object, reason: str, text: str) -> None:
    runtimes = [runtime("off", model_format(), disabled=True), runtime("only-v2", model_format(auto=False), protocolVersions=["v2"])]
    selection = select_runtime({**model(), **fields}, runtimes, [], {})
    assert (selection.runtime, selection.reason) == (None, reason)
    assert text in selection.message


def test_the_one_asked_for_needs_no_auto_select_and_brings_its_protocol() -> None:
    only_v2 = runtime("only-v2", model_format(auto=False), protocolVersions=["grpc-v2", "v2"])
    wanted = model(runtime="only-v2")
    assert chosen(wanted, [only_v2]) == "only-v2"
    assert effective_protocol(wanted, only_v2) == "v2"


def test_server_types_have_protocols_of_their_own() -> None:
    mlserver = runtime("x", model_format(), annotations={"serving.kserve.io/server-type": "mlserver"})
    assert effective_protocol(model(), mlserver) == "v2"
    assert effective_protocol(model(), runtime("kserve-mlserver", model_format())) == "v2"
    assert effective_protocol(model(), runtime("x", model_format())) == "v1"


class TestRuntimesAtTheDoor:
    def test_the_built_in_one_is_good(self) -> None:
        assert review(CLUSTER_SERVING_RUNTIME, BUILT_IN[0], None).errors == ()
        assert review(CLUSTER_SERVING_RUNTIME, BUILT_IN[0], None).warnings == ()

    @pytest.mark.parametrize(
        ("spec", "path"),
        [
            ({"containers": None}, "spec.containers"),
            ({"containers": [{"name": "server"}]}, "spec.containers"),
            ({"containers": [{"name": "kserve-container", "env": [{"name": "PYTHONPATH", "value": "/x"}]}]}, "spec.containers[0].env[0]"),
            ({"supportedModelFormats": [model_format(priority=1), model_format(priority=2)]}, "spec.supportedModelFormats[1].priority"),
            ({"supportedModelFormats": [model_format(priority=0)]}, "spec.supportedModelFormats[0].priority"),
            ({"supportedModelFormats": [{"version": "1"}]}, "spec.supportedModelFormats[0].name"),
            ({"disabled": "yes"}, "spec.disabled"),
        ],
    )
    def test_bad_ones(self, spec: Object, path: str) -> None:
        obj = runtime("r", model_format(), **spec)
        assert [finding.path for finding in review(SERVING_RUNTIME, obj, None).errors] == [path]

    def test_what_has_no_effect_is_said(self) -> None:
        obj = runtime(
            "r",
            model_format(),
            containers=[{"name": "kserve-container", "image": "nvcr.io/triton:1"}],
            nodeSelector={"a": "b"},
            multiModel=True,
        )
        warnings = " ".join(review(SERVING_RUNTIME, obj, None).warnings)
        for text in ("nodeSelector has no effect", "nvcr.io/triton:1 cannot be run here", "never chosen"):
            assert text in warnings
