"""The graph of a workflow: which node feeds which, and what can run now. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from flambeau.foundation.errors import InvalidInput, TooLarge

NODES_MAX = 64
"""Nodes of one workflow; each is a model with its own workers."""
FAN_OUT_MAX = 32
"""Children of one node: so many requests of one may run at once."""


@dataclass(frozen=True, slots=True)
class Dag:
    """A graph without cycles that begins at one node; every mapping has all nodes, in the order in which they were named."""

    start: str
    children: Mapping[str, tuple[str, ...]]
    parents: Mapping[str, tuple[str, ...]]

    @property
    def leaves(self) -> tuple[str, ...]:
        """Nodes without children: their outputs are the answer."""
        return tuple(node for node, children in self.children.items() if not children)


def dag_of(edges: Mapping[str, Sequence[str]]) -> Dag:
    """Return the graph of ``node: [children]``.

    Raises:
        InvalidInput: it loops, or does not begin at one node; the text begins with TorchServe's words.
        TooLarge: more nodes than allowed, or children of one node.
    """
    children: dict[str, tuple[str, ...]] = {}
    parents: dict[str, list[str]] = {}
    for node, targets in edges.items():
        _check_edges(node, targets)
        children[node] = tuple(targets)
        for name in (node, *targets):
            parents.setdefault(name, [])
        for target in targets:
            parents[target].append(node)
    if len(parents) > NODES_MAX:
        raise TooLarge(f"the workflow has {len(parents)} nodes, at most {NODES_MAX} are allowed")
    starts = [node for node, above in parents.items() if not above]
    if len(starts) != 1:
        there = f"{' and '.join(starts)} have no parent" if starts else "every node has a parent"
        raise _invalid(f"DAG should have only one start node: {there}")
    whole = Dag(starts[0], {node: children.get(node, ()) for node in parents}, {node: tuple(above) for node, above in parents.items()})
    looping = _looping(whole)
    if looping:
        raise _invalid(f"Not a valid DAG: {', '.join(looping)} wait for each other")
    return whole


class Progress:
    """How far one request has come.

    Args:
        dag: the graph that it goes through.
    """

    def __init__(self, dag: Dag) -> None:
        self._dag = dag
        self._missing = {node: len(above) for node, above in dag.parents.items()}
        self._unread = {node: len(below) for node, below in dag.children.items()}
        self._left = len(dag.children)
        self._outputs: dict[str, bytes] = {}

    @property
    def is_over(self) -> bool:
        """Whether every node has answered."""
        return not self._left

    def finish(self, node: str, output: bytes) -> list[str]:
        """Note a node's output; return the nodes that can run now."""
        self._outputs[node] = output
        self._left -= 1
        ready = []
        for child in self._dag.children[node]:
            self._missing[child] -= 1
            if not self._missing[child]:
                ready.append(child)
        return ready

    def inputs_of(self, node: str) -> dict[str, bytes]:
        """Return the outputs of a node's parents, by name; called once a node. An output is forgotten when every child has read it."""
        found = {}
        for parent in self._dag.parents[node]:
            found[parent] = self._outputs[parent]
            self._unread[parent] -= 1
            if not self._unread[parent]:
                del self._outputs[parent]
        return found

    def results(self) -> dict[str, bytes]:
        """Return the leaves' outputs, by name, in the graph's order."""
        return {leaf: self._outputs[leaf] for leaf in self._dag.leaves}


def _check_edges(node: str, targets: Sequence[str]) -> None:
    if node in targets:
        raise _invalid(f"Self loop exception: {node} is its own child")
    if len(targets) > FAN_OUT_MAX:
        raise TooLarge(f"node {node} has {len(targets)} children, at most {FAN_OUT_MAX} are allowed")
    if len(set(targets)) < len(targets):
        raise _invalid(f"node {node} names a child twice")


def _looping(dag: Dag) -> list[str]:
    """Return the nodes that no order of execution reaches."""
    missing = {node: len(above) for node, above in dag.parents.items()}
    ready = [dag.start]
    while ready:
        node = ready.pop()
        del missing[node]
        for child in dag.children[node]:
            missing[child] -= 1
            if not missing[child]:
                ready.append(child)
    return list(missing)


def _invalid(message: str) -> InvalidInput:
    return InvalidInput(message, hint="correct dag in the workflow's spec", reason="InvalidDAG")
