"""What a node does next, and what its answer is. Pure: ``run`` makes the calls and draws the lots.

Source: specification 7.3.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from flambeau.gateway.graph.condition import Condition
from flambeau.gateway.graph.spec import Node, Step


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer: of a service, of a node, of the graph."""

    status: int
    body: bytes

    @property
    def is_success(self) -> bool:
        """Tell whether it counts as one."""
        return 200 <= self.status < 300


NO_ROUTE = "None of the routes matched with the switch condition"


def refusal(status: int, cause: str) -> Reply:
    """Return the router's own error, in the original's form."""
    return Reply(status, orjson.dumps({"error": "Failed to process request", "cause": cause}))


def input_of(step: Step, request: bytes, previous: Reply | None) -> bytes:
    """Return what a step of a sequence is asked with.

    Args:
        step: the step.
        request: what its node was asked with.
        previous: the answer of the step before; None for the first one.
    """
    if not step.takes_response or previous is None:
        return request
    return _as_instances(previous.body) if step.maps_predictions else previous.body


def stops_before(step: Step, previous: Reply | None) -> bool:
    """Tell whether a sequence ends before a step, because its condition does not hold for the answer so far."""
    return step.condition is not None and previous is not None and not _holds(step.condition, previous.body)


def fails_node(step: Step, reply: Reply) -> bool:
    """Tell whether a step's answer ends its node's work."""
    return step.hard and not reply.is_success


def chosen_by_condition(node: Node, request: bytes) -> Step | None:
    """Return the first step of a switch whose condition the request fulfils; one without a condition is never chosen."""
    document = _decoded(request)
    if document is _NOT_JSON:
        return None
    return next((step for step in node.steps if step.condition is not None and step.condition.holds(document)), None)


def chosen_by_weight(node: Node, lot: float) -> Step:
    """Return the step of a splitter that a lot falls on.

    Args:
        node: the splitter.
        lot: from 0 up to, not including, 1.
    """
    place = lot * sum(step.weight for step in node.steps)
    for step in node.steps:
        place -= step.weight
        if place < 0:
            return step
    return node.steps[-1]


def merged(steps: Sequence[Step], replies: Sequence[Reply]) -> Reply:
    """Return an ensemble's answer: each step's under its name, or its place; or that of the first hard step that failed."""
    for step, reply in zip(steps, replies, strict=True):
        if fails_node(step, reply):
            return reply
    named = {step.name or str(place): _as_json(replies[place].body) for place, step in enumerate(steps)}
    return Reply(200, b"{%b}" % b",".join(b"%b:%b" % (orjson.dumps(name), body) for name, body in named.items()))


_NOT_JSON = object()


def _decoded(body: bytes) -> Any:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        return _NOT_JSON


def _holds(condition: Condition, body: bytes) -> bool:
    document = _decoded(body)
    return document is not _NOT_JSON and condition.holds(document)


def _as_json(body: bytes) -> bytes:
    """Return a body as it stands where it is JSON, else as a JSON text."""
    return body if _decoded(body) is not _NOT_JSON else orjson.dumps(body.decode("utf-8", "replace"))


def _as_instances(body: bytes) -> bytes:
    """Return a V1 answer as a V1 request; anything else as it is."""
    document = _decoded(body)
    if not isinstance(document, dict) or "predictions" not in document:
        return body
    try:
        return orjson.dumps({"instances" if name == "predictions" else name: value for name, value in document.items()})
    except orjson.JSONEncodeError:  # nested deeper than can be written; four times as deep can be read
        return body
