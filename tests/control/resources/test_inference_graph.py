"""Graphs and trained models at the door: everything wrong is said at once, with its place."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from flambeau.control.resources.admission import review
from flambeau.control.resources.inference_graph import CALLS_MAX, DEPTH_MAX, INFERENCE_GRAPH
from flambeau.control.resources.kind import Object
from flambeau.control.resources.registry import KINDS
from flambeau.control.resources.trained_model import TRAINED_MODEL

A: Object = {"serviceName": "a"}


def graph(nodes: Object, *, name: str = "g", **spec: Any) -> Object:
    spec = {"nodes": {key: {"routerType": kind, "steps": steps} for key, (kind, steps) in nodes.items()}, **spec}
    metadata = {"name": name, "namespace": "home"}
    return {"apiVersion": "serving.kserve.io/v1alpha1", "kind": "InferenceGraph", "metadata": metadata, "spec": spec}


def errors(obj: Object) -> dict[str, str]:
    return {finding.path: finding.message for finding in review(INFERENCE_GRAPH, obj, None).errors}


def test_a_graph_that_is_right() -> None:
    steps = [{**A, "name": "x", "dependency": "Hard"}, {"serviceUrl": "https://h.example/v1", "data": "$response"}, {"nodeName": "n"}]
    obj = graph({"root": ("Sequence", steps), "n": ("Switch", [{**A, "condition": "a.b"}])}, timeout=30, minReplicas=0)
    found = review(INFERENCE_GRAPH, obj, None)
    assert (found.errors, found.warnings) == ((), ())


@pytest.mark.parametrize(
    ("nodes", "path", "words"),
    [
        ({"start": ("Sequence", [A])}, "spec.nodes", "node named root"),
        ({"root": ("Sequence", [])}, "spec.nodes.root.steps", "at least one"),
        ({"root": ("Sequence", [{}])}, "spec.nodes.root.steps[0]", "none of them"),
        ({"root": ("Sequence", [{**A, "nodeName": "root"}])}, "spec.nodes.root.steps[0]", "nodeName and serviceName"),
        ({"root": ("Sequence", [{"nodeName": "gone"}])}, "spec.nodes.root.steps[0].nodeName", 'no node "gone"; there are: root'),
        ({"root": ("Sequence", [{**A, "name": "x"}, {**A, "name": "x"}])}, "spec.nodes.root.steps[1].name", 'two steps named "x"'),
        ({"root": ("Sequence", [{**A, "data": "$other"}])}, "spec.nodes.root.steps[0].data", r"$request or $response"),
        ({"root": ("Sequence", [{"serviceUrl": "ftp://x"}])}, "spec.nodes.root.steps[0].serviceUrl", "must be a URL"),
        ({"root": ("Sequence", [{"serviceUrl": "http://x:99999/"}])}, "spec.nodes.root.steps[0].serviceUrl", "must be a URL"),
        ({"root": ("Sequence", [{"serviceUrl": "http://x/\r\nHost: y"}])}, "spec.nodes.root.steps[0].serviceUrl", "must be a URL"),
        ({"root": ("Switch", [{**A, "condition": "a|b"}])}, "spec.nodes.root.steps[0].condition", "pipes of gjson"),
        ({"root": ("Switch", [A])}, "spec.nodes.root.steps", "none of these has one"),
        ({"root": ("Splitter", [A])}, "spec.nodes.root.steps[0].weight", "is required"),
        ({"root": ("Splitter", [{**A, "weight": 50}, {**A, "weight": 49}])}, "spec.nodes.root.steps", "make 99"),
        ({"root": ("Splitter", [{**A, "weight": 150}, {**A, "weight": -50}])}, "spec.nodes.root.steps[0].weight", "from 0 to 100"),
        ({"root": ("Other", [A])}, "spec.nodes.root.routerType", "Sequence"),
        ({"root": ("Sequence", [{**A, "dependency": "hard"}])}, "spec.nodes.root.steps[0].dependency", "Hard"),
        ({"root": ("Sequence", [{"nodeName": "root"}])}, "spec.nodes", "circle, in which a request would never end: root -> root"),
        (
            {"root": ("Sequence", [A, {"nodeName": "b"}]), "b": ("Ensemble", [{"nodeName": "c"}]), "c": ("Sequence", [{"nodeName": "b"}])},
            "spec.nodes",
            "b -> c -> b",
        ),
    ],
)
def test_what_is_wrong_with_nodes(nodes: Object, path: str, words: str) -> None:
    found = errors(graph(nodes))
    assert words in found[path], found


def test_everything_wrong_is_said_at_once() -> None:
    obj = graph({"root": ("Splitter", [{**A, "weight": 1}, {}])}, name="Bad", timeout=601, minReplicas=3, maxReplicas=2)
    expected = {"metadata.name", "spec.timeout", "spec.maxReplicas", "spec.nodes.root.steps[1]", "spec.nodes.root.steps[1].weight"}
    assert expected == errors(obj).keys()


@pytest.mark.parametrize(("spec", "path"), [({"scaleMetric": "cpu"}, "spec.scaleMetric"), ({"scaleTarget": -1}, "spec.scaleTarget")])
def test_scaling(spec: Object, path: str) -> None:
    assert path in errors(graph({"root": ("Sequence", [A])}, **spec))


def test_timeouts_are_positive() -> None:
    assert "spec.routerTimeouts.serverRead" in errors(graph({"root": ("Sequence", [A])}, routerTimeouts={"serverRead": 0}))


def test_the_name_leaves_room_for_revisions() -> None:
    nodes = {"root": ("Sequence", [A])}
    assert errors(graph(nodes, name="g" * 57)) == {}
    assert "too long by 1" in errors(graph(nodes, name="g" * 58))["metadata.name"]


def test_a_request_does_not_become_too_many() -> None:
    def tower(height: int, width: int) -> Object:
        inner = [{"nodeName": f"n{level + 1}"} for level in range(height)]
        nodes = {f"n{level}": ("Ensemble", [inner[level]] * width) for level in range(height)}
        return graph({"root": ("Sequence", [{"nodeName": "n0"}]), **nodes, f"n{height}": ("Sequence", [A])})

    assert errors(tower(10, 2)) == {}
    assert f"the most is {CALLS_MAX}" in errors(tower(11, 2))["spec.nodes"]
    assert f"the most is {DEPTH_MAX}" in errors(tower(DEPTH_MAX, 1))["spec.nodes"]


def test_what_has_no_effect_is_warned_about() -> None:
    nodes = {
        "root": ("Sequence", [{**A, "condition": "a", "weight": 3}]),
        "e": ("Ensemble", [{**A, "condition": "a", "data": "$response"}]),
        "s": ("Switch", [A, {**A, "condition": "a.#(b==1)#"}]),
    }
    warnings = "\n".join(review(INFERENCE_GRAPH, graph(nodes, nodeName="n"), None).warnings)
    for words in (
        "nodeName",
        "this is the first",
        "root.steps[0].weight",
        "no effect in a Ensemble",
        "s.steps[0]: has no condition",
        "even an",
    ):
        assert words in warnings, words


@pytest.mark.parametrize("field", ["name", "nodeName", "serviceName", "serviceUrl", "condition", "data", "weight", "dependency"])
@pytest.mark.parametrize("value", [[], {}, [1], 7, True])
def test_values_of_any_type_get_a_review(field: str, value: Any) -> None:
    for kind in ("Sequence", "Splitter", "Switch"):
        review(INFERENCE_GRAPH, graph({"root": (kind, [{**A, field: value}, {field: value}])}), None)


# -- trained models --


def trained(*, name: str = "tm", memory: Any = "1Gi", uri: str = "s3://bucket/m", service: str = "x") -> Object:
    model = {"storageUri": uri, "framework": "pytorch", "memory": memory}
    metadata = {"name": name, "namespace": "home"}
    spec = {"inferenceService": service, "model": model}
    return {"apiVersion": "serving.kserve.io/v1alpha1", "kind": "TrainedModel", "metadata": metadata, "spec": spec}


@pytest.mark.parametrize(
    ("obj", "path"),
    [
        (trained(name="Tm"), "metadata.name"),
        (trained(uri="what://x"), "spec.model.storageUri"),
        (trained(service=""), "spec.inferenceService"),
        (trained(memory="much"), "spec.model.memory"),
    ],
)
def test_what_is_wrong_with_a_trained_model(obj: Object, path: str) -> None:
    assert [finding.path for finding in review(TRAINED_MODEL, obj, None).errors] == [path]


def test_a_trained_models_memory_stays() -> None:
    assert review(TRAINED_MODEL, trained(uri="s3://bucket/other"), trained()).errors == ()
    (finding,) = review(TRAINED_MODEL, trained(memory="2Gi"), trained()).errors
    assert "cannot change from 1Gi to 2Gi" in finding.message


# -- the document --


def test_the_documents_examples_are_right() -> None:
    page = Path(__file__).parents[3] / "docs" / "inference-graph.md"
    blocks = [yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", page.read_text(), flags=re.DOTALL)]
    assert [block["kind"] for block in blocks] == ["InferenceGraph"] * 4 + ["TrainedModel"]
    for block in blocks:
        found = review(KINDS.by_object(block), {**block, "metadata": {**block["metadata"], "namespace": "home"}}, None)
        assert (found.errors, found.warnings) == ((), ())
