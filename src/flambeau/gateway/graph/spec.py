"""An InferenceGraph as its router reads it: ``--graph-json``, checked when the graph was applied. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import orjson

from flambeau.foundation.errors import InvalidInput
from flambeau.gateway.graph import condition
from flambeau.gateway.graph.condition import Condition

ROOT = "root"
"""The node that requests come to."""


class RouterType(StrEnum):
    """What a node does with its steps."""

    SEQUENCE = "Sequence"
    """One after the other."""
    SPLITTER = "Splitter"
    """One of them, by weight."""
    ENSEMBLE = "Ensemble"
    """All at once."""
    SWITCH = "Switch"
    """The first whose condition the request fulfils."""


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a node: a call of a service, or another node."""

    name: str
    """Empty: it goes by its place in the node."""
    url: str
    """Empty for a node."""
    node: str
    """Empty for a service."""
    takes_response: bool
    """``data: $response``: its input is the answer of the step before, not the node's request."""
    weight: int
    condition: Condition | None
    hard: bool
    """Its failure is the node's."""
    maps_predictions: bool
    """``predictions`` of the answer before become its ``instances``."""


@dataclass(frozen=True, slots=True)
class Node:
    """A node and its steps, in order."""

    type: RouterType
    steps: tuple[Step, ...]


Graph = Mapping[str, Node]
"""Name -> node; ``root`` among them."""


def parse(text: str | bytes) -> Graph:
    """Read a graph: the JSON of an InferenceGraph's spec, each step with a serviceUrl or a nodeName.

    Raises:
        InvalidInput: it is none; the text names the place.
    """
    try:
        nodes = orjson.loads(text)["nodes"]
        graph = {str(name): _node(str(name), node) for name, node in nodes.items()}
    except (orjson.JSONDecodeError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise InvalidInput(f"the graph is not an InferenceGraph's spec in JSON: {error!r}") from error
    wanted = {step.node for node in graph.values() for step in node.steps if step.node} | {ROOT}
    if missing := sorted(wanted - graph.keys()):
        raise InvalidInput(f"the graph has no node {', '.join(missing)}")
    return graph


def _node(name: str, node: Mapping[str, Any]) -> Node:
    return Node(RouterType(node["routerType"]), tuple(_step(f"{name}.steps[{index}]", step) for index, step in enumerate(node["steps"])))


def _step(place: str, step: Mapping[str, Any]) -> Step:
    if bool(step.get("serviceUrl")) == bool(step.get("nodeName")):
        raise InvalidInput(f"{place} needs either a serviceUrl or a nodeName")
    text = step.get("condition")
    return Step(
        name=str(step.get("name") or ""),
        url=str(step.get("serviceUrl") or ""),
        node=str(step.get("nodeName") or ""),
        takes_response=step.get("data") == "$response",
        weight=int(step.get("weight") or 0),
        condition=condition.parse(text) if text else None,
        hard=step.get("dependency") == "Hard",
        maps_predictions=bool(step.get("mapPredictionsToInstances")),
    )
