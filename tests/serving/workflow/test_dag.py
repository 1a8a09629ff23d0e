from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flambeau.foundation.errors import InvalidInput, TooLarge
from flambeau.serving.workflow.dag import FAN_OUT_MAX, NODES_MAX, Progress, dag_of

DIAMOND = {"pre": ("a", "b"), "a": ("join",), "b": ("join",)}


def test_a_graph_knows_its_start_its_leaves_and_who_feeds_whom() -> None:
    dag = dag_of(DIAMOND)
    assert dag.start == "pre"
    assert dag.leaves == ("join",)
    assert dag.parents == {"pre": (), "a": ("pre",), "b": ("pre",), "join": ("a", "b")}
    assert list(dag.children) == ["pre", "a", "b", "join"]


def test_one_node_is_a_graph() -> None:
    dag = dag_of({"only": ()})
    assert (dag.start, dag.leaves) == ("only", ("only",))


@pytest.mark.parametrize(
    ("edges", "why"),
    [
        ({"a": ("a",)}, "^Self loop exception: a is its own child"),
        ({"a": ("b",), "b": ("a",)}, "^DAG should have only one start node: every node has a parent"),
        ({"a": ("c",), "b": ("c",)}, "^DAG should have only one start node: a and b have no parent"),
        ({"a": ("b",), "c": ("d",)}, "^DAG should have only one start node: a and c have no parent"),
        ({"a": ("b",), "b": ("c",), "c": ("d",), "d": ("b",)}, "^Not a valid DAG: b, c, d wait for each other"),
        ({"a": (), "b": ("c",), "c": ("b",)}, "^Not a valid DAG: b, c"),
        ({"a": ("b", "b")}, "^node a names a child twice"),
    ],
)
def test_what_is_no_dag_is_refused(edges: dict[str, tuple[str, ...]], why: str) -> None:
    with pytest.raises(InvalidInput, match=why) as caught:
        dag_of(edges)
    assert caught.value.reason == "InvalidDAG"


def test_nodes_and_children_are_bounded() -> None:
    line = {f"n{index}": (f"n{index + 1}",) for index in range(NODES_MAX)}
    with pytest.raises(TooLarge, match=f"at most {NODES_MAX}"):
        dag_of(line)
    with pytest.raises(TooLarge, match=f"at most {FAN_OUT_MAX}"):
        dag_of({"a": tuple(f"n{index}" for index in range(FAN_OUT_MAX + 1))})


def test_a_node_is_ready_when_its_last_parent_has_answered() -> None:
    progress = Progress(dag_of(DIAMOND))
    assert progress.finish("pre", b"p") == ["a", "b"]
    assert [progress.inputs_of(node) for node in ("a", "b")] == [{"pre": b"p"}] * 2
    assert progress.finish("b", b"from b") == []
    assert progress.finish("a", b"from a") == ["join"]
    assert progress.inputs_of("join") == {"a": b"from a", "b": b"from b"}
    assert not progress.is_over
    assert progress.finish("join", b"j") == []
    assert progress.is_over
    assert progress.results() == {"join": b"j"}


@given(st.data())
def test_every_node_of_any_dag_runs_once_and_after_its_parents(data: st.DataObject) -> None:
    count = data.draw(st.integers(1, 12))
    edges: dict[str, tuple[str, ...]] = {f"n{index}": () for index in range(count)}
    for index in range(1, count):
        for parent in data.draw(st.sets(st.integers(0, index - 1), min_size=1)):
            edges[f"n{parent}"] = (*edges[f"n{parent}"], f"n{index}")
    dag = dag_of(edges)
    progress, ready = Progress(dag), [dag.start]
    ran: list[str] = []
    while ready:
        node = ready.pop(data.draw(st.integers(0, len(ready) - 1)))
        assert set(progress.inputs_of(node)) == set(dag.parents[node]) <= set(ran)
        ran.append(node)
        ready += progress.finish(node, b"")
    assert sorted(ran) == sorted(edges)
    assert progress.is_over
    assert set(progress.results()) == set(dag.leaves)
