"""What a node does next, and how a request goes through nodes."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from flambeau.foundation.errors import InvalidInput
from flambeau.gateway.graph.decide import Reply, chosen_by_weight, input_of, merged
from flambeau.gateway.graph.run import Run
from flambeau.gateway.graph.spec import Graph, Node, parse


def graph(**nodes: Any) -> Graph:
    spec = {name: {"routerType": kind, "steps": steps} for name, (kind, steps) in nodes.items()}
    return parse(json.dumps({"nodes": spec}))


class Services:
    """Services that put their names around what they got; one named by a number answers with that status."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, Any]] = []
        self.together = 0
        self.most_together = 0

    async def call(self, url: str, body: bytes) -> Reply:
        self.asked.append((url, json.loads(body)))
        self.together += 1
        self.most_together = max(self.most_together, self.together)
        await asyncio.sleep(0)
        self.together -= 1
        return Reply(int(url) if url.isdigit() else 200, json.dumps({"predictions": [url, json.loads(body)]}).encode())


async def answer(wanted: Graph, request: Any) -> tuple[int, Any, Services]:
    services = Services()
    reply = await Run(wanted, services.call).answer(json.dumps(request).encode())
    return reply.status, json.loads(reply.body), services


def node(kind: str, *steps: Any) -> Node:
    return graph(root=(kind, list(steps)))["root"]


async def test_a_sequence_asks_each_with_the_request_unless_it_takes_the_answer() -> None:
    steps = [{"serviceUrl": "a"}, {"serviceUrl": "b"}, {"serviceUrl": "c", "data": "$response"}]
    status, body, services = await answer(graph(root=("Sequence", steps)), 1)
    assert (status, body) == (200, {"predictions": ["c", {"predictions": ["b", 1]}]})
    assert [url for url, _ in services.asked] == ["a", "b", "c"]


async def test_predictions_become_instances() -> None:
    steps = [{"serviceUrl": "a"}, {"serviceUrl": "b", "data": "$response", "mapPredictionsToInstances": True}]
    _, _, services = await answer(graph(root=("Sequence", steps)), 1)
    assert services.asked[1] == ("b", {"instances": ["a", 1]})


@pytest.mark.parametrize("body", [b"no json", b"[1]", b'{"other":1}'])
def test_what_has_no_predictions_is_handed_on_as_it_is(body: bytes) -> None:
    step = node("Sequence", {"serviceUrl": "a", "data": "$response", "mapPredictionsToInstances": True}).steps[0]
    assert input_of(step, b"request", Reply(200, body)) == body
    assert input_of(step, b"request", None) == b"request"


async def test_a_sequence_ends_where_a_condition_does_not_hold() -> None:
    steps = [{"serviceUrl": "a"}, {"serviceUrl": "b", "condition": "predictions.5"}, {"serviceUrl": "c"}]
    status, body, services = await answer(graph(root=("Sequence", steps)), 1)
    assert (status, body, len(services.asked)) == (200, {"predictions": ["a", 1]}, 1)
    steps[1]["condition"] = "predictions.1"
    _, body, _ = await answer(graph(root=("Sequence", steps)), 1)
    assert body["predictions"][0] == "c"


@pytest.mark.parametrize(("dependency", "status", "asked"), [("Hard", 503, 1), ("Soft", 200, 2), (None, 200, 2)])
async def test_only_a_hard_failure_ends_a_sequence(dependency: str | None, status: int, asked: int) -> None:
    steps = [{"serviceUrl": "503", **({"dependency": dependency} if dependency else {})}, {"serviceUrl": "a"}]
    got, _, services = await answer(graph(root=("Sequence", steps)), 1)
    assert (got, len(services.asked)) == (status, asked)


async def test_the_last_status_is_a_sequences() -> None:
    got, _, _ = await answer(graph(root=("Sequence", [{"serviceUrl": "a"}, {"serviceUrl": "418"}])), 1)
    assert got == 418


async def test_a_switch_takes_the_first_that_fits() -> None:
    steps = [{"serviceUrl": "never"}, {"serviceUrl": "a", "condition": "x"}, {"serviceUrl": "b", "condition": "y"}]
    wanted = graph(root=("Switch", steps))
    assert (await answer(wanted, {"y": 1, "x": 1}))[1]["predictions"][0] == "a"
    assert (await answer(wanted, {"y": 1}))[1]["predictions"][0] == "b"
    status, body, services = await answer(wanted, {"z": 1})
    assert (status, body["error"], services.asked) == (404, "Failed to process request", [])
    assert "switch condition" in body["cause"]


async def test_a_switch_finds_nothing_in_what_is_no_json() -> None:
    reply = await Run(graph(root=("Switch", [{"serviceUrl": "a", "condition": "@this"}])), Services().call).answer(b"\xff")
    assert reply.status == 404


async def test_an_ensemble_asks_all_at_once_and_names_their_answers() -> None:
    steps = [{"serviceUrl": "a", "name": "first"}, {"serviceUrl": "b"}, {"serviceUrl": "500", "dependency": "Soft"}]
    status, body, services = await answer(graph(root=("Ensemble", steps)), 1)
    answers = {"first": {"predictions": ["a", 1]}, "1": {"predictions": ["b", 1]}, "2": {"predictions": ["500", 1]}}
    assert (status, body, services.most_together) == (200, answers, 3)


def test_a_hard_failure_is_an_ensembles() -> None:
    steps = node(
        "Ensemble", {"serviceUrl": "a"}, {"serviceUrl": "b", "dependency": "Hard"}, {"serviceUrl": "c", "dependency": "Hard"}
    ).steps
    failed = Reply(502, b"why")
    assert merged(steps, [Reply(500, b"{}"), failed, Reply(503, b"later")]) == failed


def test_an_answer_that_is_no_json_is_part_of_an_ensembles_as_text() -> None:
    steps = node("Ensemble", {"serviceUrl": "a", "name": 'quo"te'}, {"serviceUrl": "b"}).steps
    assert json.loads(merged(steps, [Reply(200, b"plain"), Reply(200, b"[1, 2]")]).body) == {'quo"te': "plain", "1": [1, 2]}


@pytest.mark.parametrize(("lot", "name"), [(0.0, "a"), (0.199, "a"), (0.2, "b"), (0.999999, "b")])
def test_lots_fall_by_weight(lot: float, name: str) -> None:
    steps = ({"serviceUrl": "a", "weight": 20}, {"serviceUrl": "none", "weight": 0}, {"serviceUrl": "b", "weight": 80})
    assert chosen_by_weight(node("Splitter", *steps), lot).url == name


async def test_a_splitter_takes_one() -> None:
    _, body, services = await answer(graph(root=("Splitter", [{"serviceUrl": "a", "weight": 100}, {"serviceUrl": "b", "weight": 0}])), 1)
    assert (body["predictions"][0], len(services.asked)) == ("a", 1)


async def test_nodes_stand_in_nodes() -> None:
    wanted = graph(
        root=("Sequence", [{"nodeName": "both", "dependency": "Hard"}, {"serviceUrl": "c", "data": "$response"}]),
        both=("Ensemble", [{"serviceUrl": "a", "name": "a"}, {"nodeName": "choice", "name": "b"}]),
        choice=("Switch", [{"serviceUrl": "b", "condition": "x"}]),
    )
    _, body, _ = await answer(wanted, {"x": 1})
    assert body["predictions"][1]["b"] == {"predictions": ["b", {"x": 1}]}
    _, body, _ = await answer(wanted, {})
    assert body["predictions"][1]["b"]["error"] == "Failed to process request"


ROOT_IS = '{"nodes":{"root":{"routerType":"%s","steps":%s}}}'


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"nodes":{}}',
        '{"nodes":{"root":{"routerType":"Switch"}}}',
        ROOT_IS % ("Other", "[]"),
        ROOT_IS % ("Switch", "[{}]"),
        ROOT_IS % ("Sequence", '[{"nodeName":"x"}]'),
    ],
)
def test_what_is_no_graph_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput):
        parse(text)
