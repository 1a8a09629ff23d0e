"""Conditions: what gjson would find, and what is refused."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flambeau.foundation.errors import InvalidInput
from flambeau.gateway.graph.condition import CHARS_MAX, parse

DOCUMENT: Any = {
    "predictions": [{"label": "cat", "score": 0.9, "seen": True}, {"label": "dog", "score": 0.1, "seen": False}],
    "instances": [{"modelId": "1"}, {"modelId": "2"}],
    "plain": [1, 2.5, "3"],
    "a.b": None,
    "empty": [],
    "nested": {"deep": {"key": "value", "other": 7}},
    "x*y": "star",
}


@pytest.mark.parametrize(
    "text",
    [
        "predictions",
        "predictions.0.label",
        "plain.2",
        r"a\.b",
        r"x\*y",
        "nested.*.key",
        "nest?d.deep",
        "*.deep.other",
        "@this",
        "[@this]",
        "@this.plain",
        "[@this].0.plain",
        '[@this].#(predictions.0.label=="cat")',
        '[@this].#(predictions.#(label == "dog"))',
        'predictions.#(label=="dog")',
        'predictions.#(label=="dog").score',
        "predictions.#(label==dog)",
        "predictions.#(score>0.5)",
        "predictions.#(score>=0.9)",
        "predictions.#(score<=0.1)",
        "predictions.#(score!=0.1)",
        "predictions.#(seen==true)",
        "predictions.#(seen!=true)",
        "predictions.#(seen==~false)",
        "predictions.#(gone==~null)",
        "predictions.#(gone==~false)",
        'predictions.#(label%"c?t")',
        'predictions.#(label!%"c*")',
        "predictions.#(label)",
        "plain.#(>2)",
        'plain.#(=="3")',
        'instances.#(modelId=="2")',
        "predictions.#",
        "empty.#",
        "predictions.#.label",
        "predictions.#.gone",
        'predictions.#(label=="cow")#',
        'predictions.#(label=="cat")#.score',
    ],
)
def test_what_is_found(text: str) -> None:
    assert parse(text).holds(DOCUMENT)


@pytest.mark.parametrize(
    "text",
    [
        "gone",
        "predictions.2",
        "predictions.label",
        "plain.-1",
        "a.b",
        "x.*",
        "nested.#",
        "nested.deep.0",
        'predictions.#(label=="cow")',
        'predictions.#(label=="dog").gone',
        "predictions.#(score>0.9)",
        "predictions.#(score>high)",
        "predictions.#(gone==1)",
        "predictions.#(seen==1)",
        "plain.#(x==1)",
        "[@this].predictions",
        'predictions.#(label=="x)y")',
    ],
)
def test_what_is_not_found(text: str) -> None:
    assert not parse(text).holds(DOCUMENT)


@pytest.mark.parametrize("document", [None, 1, "text", [], {}, [1], True])
def test_any_document_is_taken(document: Any) -> None:
    assert not parse("a.0.#(b==1)").holds(document)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "is empty"),
        ("a..b", "empty part"),
        ("a.", "empty part"),
        (".a", "empty part"),
        ("a|b", "pipes"),
        ("@reverse.a", "modifiers"),
        ("a.@values", "modifiers"),
        ("{a,b}", "multipaths"),
        ("[a,b]", "multipaths"),
        ("!true", "literals"),
        ("a.#(b", "not closed"),
        ('a.#(b=="c)', "not closed"),
        ("a.#(b==)", "compares with nothing"),
        ("a.#()", "asks for nothing"),
        ("a.#(b==1)x", "no query"),
        ("a.#(b!c)", "no operator"),
        ("a.#(" * 20 + "b" + ")" * 20, "nested more than"),
        ("a" * (CHARS_MAX + 1), "the most is"),
    ],
)
def test_what_is_refused(text: str, why: str) -> None:
    with pytest.raises(InvalidInput, match=why):
        parse(text)


def test_lists_are_found_even_when_they_are_empty() -> None:
    assert parse('a.#(b=="c")#').always_holds_on_arrays
    assert parse("a.#").always_holds_on_arrays
    assert not parse('a.#(b=="c")').always_holds_on_arrays


@given(st.text("ab*?", min_size=1, max_size=8), st.text("ab", max_size=10))
def test_wildcards_are_those_of_the_shell(pattern: str, name: str) -> None:
    assert parse(pattern).holds({name: 1}) == (fnmatchcase(name, pattern) if set(pattern) & set("*?") else name == pattern)
    assert parse(f'#(x % "{pattern}")').holds([{"x": name}]) == fnmatchcase(name, pattern)


def test_many_wildcards_take_no_longer_than_few() -> None:
    """With plain ``.*`` this would not end."""
    assert not parse("*a" * 200 + "*b").holds({"a" * 5000: 1})
    assert not parse(f'#(x % "{"*a" * 200}*b")').holds([{"x": "a" * 5000}])
