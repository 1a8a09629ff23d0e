from __future__ import annotations

import pytest

from flambeau.foundation.errors import InvalidInput, TooLarge
from flambeau.serving.workflow.spec import RETRIES_MAX, Sizes, read_spec

WHOLE = """\
models:
  min-workers: 1
  max-workers: 4
  batch-size: 2
  max-batch-delay: 20
  retry-attempts: 3
  timeout-ms: 5000
  one:
    url: one.mar
  two:
    url: two.mar
    batch-size: 8
    min-workers: 6
    timeout-ms: 100
  unused: {url: unused.mar, colour: red}
dag:
  pre: [one, two]
  one: [post]
  two: [post]
"""


def test_nodes_inherit_what_they_do_not_say() -> None:
    spec = read_spec(WHOLE, source="w.yaml")
    own = Sizes(1, 4, 2, 20, 3, 5000)
    assert spec.sizes == own
    assert spec.nodes["one"].sizes == own
    assert spec.nodes["two"].sizes == Sizes(6, 6, 8, 20, 3, 100)
    assert [node.url for node in spec.nodes.values()] == [None, "one.mar", "two.mar", None]
    # As in TorchServe a function has one worker; how often and how long it is tried is the workflow's.
    assert spec.nodes["pre"].sizes == Sizes(1, 1, 1, 0, 3, 5000)
    assert dict(spec.edges) == {"pre": ("one", "two"), "one": ("post",), "two": ("post",)}
    assert spec.warnings == ("w.yaml: model unused is not in the graph and is not loaded",)


def test_the_defaults_are_torchserves() -> None:
    spec = read_spec("dag: {f: [g]}\n", source="w.yaml")
    assert spec.sizes == Sizes(min_workers=1, max_workers=1, batch_size=1, max_batch_delay_ms=50, retries=1, timeout_ms=10_000)


def test_a_node_without_children_may_say_so() -> None:
    for written in ("[]", ""):
        assert read_spec(f"models: {{m: {{url: m.mar}}}}\ndag:\n  m: {written}\n", source="w").dag.leaves == ("m",)


def test_an_unknown_key_is_told_with_what_was_meant() -> None:
    spec = read_spec("models: {m: {url: m.mar, batchsize: 2}}\ndag: {m: []}\n", source="w.yaml")
    assert spec.warnings == ('w.yaml: models.m: unknown key batchsize has no effect (did you mean "batch-size"?)',)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "must hold one mapping"),
        ("hello", "must hold one mapping"),
        ("- a", "must hold one mapping"),
        ("dag: {a: [b]}\n---\ndag: {a: [b]}\n", "must hold one mapping"),
        ("dag: [", "not YAML"),
        ("models: {}", "dag must be a mapping"),
        ("dag: {}", "dag must be a mapping"),
        ("dag: [a]", "dag must be a mapping"),
        ("models: [a]\ndag: {a: [b]}", "models must be a mapping"),
        ("dag: {a: b}", r"dag.a must be a list of nodes \(write a: \[b\]\)"),
        ("dag: {a: {b: c}}", "dag.a must be a list of nodes"),
        ("dag: {a: [1]}", "names a node that is none"),
        ("dag: {a: [yes]}", r"names a node that is none.*quote it"),
        ("dag: {a: [b/c]}", "names a node that is none"),
        ("dag: {'../a': [b]}", "names a node that is none"),
        ("dag: {a: [no-function]}", "node no-function is neither a model nor the name of a function"),
        ("dag: {a: [a]}", "Self loop exception"),
        ("dag: {a: [b], a: [c]}", "dag.a is there already, in line 1"),
        ("models: {m: m.mar}\ndag: {m: []}", "models.m must be a mapping with a url"),
        ("models: {min-worker: 2}\ndag: {m: []}", r"models.min-worker must be.*did you mean \"min-workers\""),
        ("models: {m: {}}\ndag: {m: []}", "models.m needs a url"),
        ("models: {m: {url: 1}}\ndag: {m: []}", "models.m needs a url"),
        ("models: {min-workers: many}\ndag: {m: []}", "models.min-workers must be a whole number from 1"),
        ("models: {min-workers: true}\ndag: {m: []}", "models.min-workers must be a whole number"),
        ("models: {min-workers: 0}\ndag: {m: []}", "models.min-workers must be a whole number from 1"),
        ("models: {m: {url: m, batch-size: 1.5}}\ndag: {m: []}", "models.m.batch-size must be a whole number"),
        ("models: {m: {url: m, timeout-ms: 0}}\ndag: {m: []}", "models.m.timeout-ms must be"),
        (f"models: {{retry-attempts: {RETRIES_MAX + 1}}}\ndag: {{m: []}}", "models.retry-attempts must be"),
        ("models: {min-workers: 3, max-workers: 2}\ndag: {m: []}", "min-workers is 3, more than max-workers, 2"),
        ("dag: !!python/object/apply:os.system [a]", "is not read"),
    ],
)
def test_what_is_wrong_is_named(text: str, why: str) -> None:
    with pytest.raises(InvalidInput, match=why):
        read_spec(text, source="w.yaml")


def test_aliases_do_not_blow_a_spec_up() -> None:
    levels = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    levels += [f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 10)}]" for level in range(1, 9)]
    with pytest.raises(TooLarge):
        read_spec("\n".join(levels) + "\ndag: {a: [b]}\n", source="w.yaml")
