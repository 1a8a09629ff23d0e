"""Graphs of real models, with the real kubectl: each router, a soft failure, a split, to zero and back."""

from __future__ import annotations

import json
import re
from collections import Counter
from typing import Any

import pytest

from tests.system.harness import ROOT, Platform, host_of, until
from tests.system.tagger import apply, make_model, service

NAMESPACE = "graphs"


def graph(name: str, nodes: dict[str, Any], **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "serving.kserve.io/v1alpha1",
        "kind": "InferenceGraph",
        "metadata": {"name": name, "namespace": NAMESPACE, "annotations": {"autoscaling.knative.dev/window": "6s"}},
        "spec": {"nodes": nodes, **spec},
    }


def ask(platform: Platform, name: str, body: Any) -> tuple[int, Any]:
    answer = platform.post("/", body, host=host_of(name, NAMESPACE))
    return answer.status_code, answer.json()


@pytest.fixture(scope="module")
def models(platform: Platform, tmp_path_factory: pytest.TempPathFactory) -> Platform:
    """Have two services, the second of which may sleep."""
    folder = tmp_path_factory.mktemp("models")
    platform.kubectl("create", "ns", NAMESPACE)
    apply(
        platform,
        service("one", make_model(folder / "one", "one"), NAMESPACE),
        service("two", make_model(folder / "two", "two"), NAMESPACE, minReplicas=0),
    )
    platform.kubectl("wait", "--for=condition=Ready", "isvc/one", "isvc/two", "-n", NAMESPACE, "--timeout=90s")
    return platform


@pytest.fixture(scope="module")
def graphs(models: Platform) -> Platform:
    """Have all graphs, Ready."""
    page = (ROOT / "docs" / "inference-graph.md").read_text().replace("two.default.", f"two.{NAMESPACE}.")
    shown = [block for block in re.findall(r"```yaml\n(.*?)```", page, flags=re.DOTALL) if "kind: InferenceGraph" in block]
    models.kubectl("apply", "-n", NAMESPACE, "-f", "-", stdin="---\n".join(shown))
    hard = [{"serviceName": "one", "dependency": "Hard"}, {"serviceName": "two"}]
    apply(models, graph("hard", {"root": {"routerType": "Ensemble", "steps": hard}}))
    names = [f"ig/{name}" for name in ("sequence", "switch", "ensemble", "hard", "splitter")]
    models.kubectl("wait", "--for=condition=Ready", *names, "-n", NAMESPACE, "--timeout=90s")
    return models


def test_kubectl_shows_a_graph(graphs: Platform) -> None:
    lines = graphs.kubectl("get", "ig", "sequence", "-n", NAMESPACE).stdout.splitlines()
    assert lines[0].split() == ["NAME", "URL", "READY", "AGE"]
    assert lines[1].split()[:3] == ["sequence", f"http://sequence.{NAMESPACE}.localhost:{graphs.gateway_port}", "True"]
    pods = graphs.get("pods", "-n", NAMESPACE, "-l", "serving.kserve.io/inferencegraph=sequence")["items"]
    assert [pod["metadata"]["name"].startswith("sequence-00001-deployment-") for pod in pods] == [True]


def test_a_sequence_hands_predictions_on(graphs: Platform) -> None:
    assert ask(graphs, "sequence", {"instances": ["x", "y"]}) == (200, {"predictions": ["two(one(x))", "two(one(y))"]})


def test_a_switch_goes_by_the_request(graphs: Platform) -> None:
    assert ask(graphs, "switch", {"instances": ["x"], "kind": "first"}) == (200, {"predictions": ["one(x)"]})
    assert ask(graphs, "switch", {"instances": ["x", "y"]}) == (200, {"predictions": ["two(x)", "two(y)"]})
    status, said = ask(graphs, "switch", {"instances": ["x"]})
    assert (status, said["error"]) == (404, "Failed to process request")


def test_an_ensemble_asks_all_at_once(graphs: Platform) -> None:
    expected = {"a": {"predictions": ["one(x)"]}, "b": {"predictions": ["two(x)"]}}
    assert ask(graphs, "ensemble", {"instances": ["x"]}) == (200, expected)


def test_a_soft_failure_is_part_of_the_answer_and_a_hard_one_is_the_answer(graphs: Platform) -> None:
    status, said = ask(graphs, "ensemble", {"instances": ["fail"]})
    assert status == 200
    assert sorted(said) == ["a", "b"]
    assert all("predictions" not in part for part in said.values())
    status, said = ask(graphs, "hard", {"instances": ["fail"]})
    assert status >= 500
    assert "told to fail" in json.dumps(said)


def test_a_splitter_keeps_its_shares_and_leads_to_another_node(graphs: Platform) -> None:
    both = {"0": {"predictions": ["one(x)"]}, "1": {"predictions": ["two(x)"]}}
    said = Counter(json.dumps(ask(graphs, "splitter", {"instances": ["x"]})[1]) for _ in range(400))
    assert said.keys() == {json.dumps({"predictions": ["one(x)"]}), json.dumps(both)}
    assert 40 <= said[json.dumps({"predictions": ["one(x)"]})] <= 125  # 80 expected; 5 standard deviations of 8


def test_a_graph_wakes_up_with_its_services(graphs: Platform) -> None:
    apply(graphs, graph("sleeper", {"root": {"routerType": "Sequence", "steps": [{"serviceName": "two"}]}}, minReplicas=0))
    graphs.kubectl("wait", "--for=condition=Ready", "ig/sleeper", "-n", NAMESPACE, "--timeout=90s")

    def pods(label: str) -> list[Any]:
        found: list[Any] = graphs.get("pods", "-n", NAMESPACE, "-l", f"serving.kserve.io/{label}")["items"]
        return found

    until(lambda: not pods("inferencegraph=sleeper") and not pods("inferenceservice=two"), seconds=60, what="end of the idle pods")
    shown = graphs.kubectl("get", "ig", "sleeper", "-n", NAMESPACE).stdout
    assert "True" in shown
    assert ask(graphs, "sleeper", {"instances": ["x"]}) == (200, {"predictions": ["two(x)"]})


def test_a_graph_whose_service_is_missing_says_so_and_goes_on_when_it_is_there(graphs: Platform) -> None:
    apply(graphs, graph("early", {"root": {"routerType": "Sequence", "steps": [{"serviceName": "late"}]}}))

    def message() -> str:
        conditions = graphs.get("ig", "early", "-n", NAMESPACE).get("status", {}).get("conditions", [])
        return next((str(each.get("message")) for each in conditions if each["type"] == "Ready" and each["status"] == "False"), "")

    assert "there is no InferenceService late" in until(message, seconds=30, what="Ready condition")
    graphs.kubectl("delete", "ig", "early", "-n", NAMESPACE)


def test_what_cannot_work_is_refused_at_apply(graphs: Platform) -> None:
    nodes = {
        "root": {"routerType": "Splitter", "steps": [{"nodeName": "b", "weight": 50}, {"serviceName": "one", "weight": 40}]},
        "b": {"routerType": "Switch", "steps": [{"nodeName": "nowhere", "condition": "a|@reverse"}]},
    }
    done = graphs.kubectl("apply", "-f", "-", stdin=json.dumps(graph("bad", nodes)), check=False)
    assert done.returncode != 0
    for words in ("make 90", 'no node "nowhere"', "pipes of gjson"):
        assert words in done.stderr
