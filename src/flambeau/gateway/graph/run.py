"""Send one request through a graph."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable

from flambeau.gateway.graph import decide
from flambeau.gateway.graph.decide import Reply
from flambeau.gateway.graph.spec import ROOT, Graph, Node, RouterType, Step

Call = Callable[[str, bytes], Awaitable[Reply]]
"""(URL, body) -> its answer; a service that can't be asked is an answer of status 500."""


class Run:
    """One request's way.

    Args:
        graph: whose steps it takes; without circles.
        call: asks a service.
    """

    def __init__(self, graph: Graph, call: Call) -> None:
        self._graph = graph
        self._call = call

    async def answer(self, request: bytes) -> Reply:
        """Return the graph's answer.

        Cancel: the calls that run are cancelled.
        """
        return await self._node(ROOT, request)

    async def _node(self, name: str, request: bytes) -> Reply:
        node = self._graph[name]
        match node.type:
            case RouterType.SEQUENCE:
                return await self._sequence(node, request)
            case RouterType.ENSEMBLE:
                return await self._ensemble(node, request)
            case RouterType.SPLITTER:
                # A draw of lots, nothing secret.
                return await self._step(decide.chosen_by_weight(node, random.random()), request)  # noqa: S311
            case RouterType.SWITCH:
                step = decide.chosen_by_condition(node, request)
                return decide.refusal(404, decide.NO_ROUTE) if step is None else await self._step(step, request)

    async def _step(self, step: Step, body: bytes) -> Reply:
        return await (self._node(step.node, body) if step.node else self._call(step.url, body))

    async def _sequence(self, node: Node, request: bytes) -> Reply:
        previous: Reply | None = None
        for step in node.steps:
            if previous is not None and decide.stops_before(step, previous):
                return Reply(200, previous.body)
            previous = await self._step(step, decide.input_of(step, request, previous))
            if decide.fails_node(step, previous):
                break
        assert previous is not None, "a node without steps is refused when it is applied"
        return previous

    async def _ensemble(self, node: Node, request: bytes) -> Reply:
        return decide.merged(node.steps, await asyncio.gather(*(self._step(step, request) for step in node.steps)))
