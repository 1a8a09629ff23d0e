"""YAML as kubectl reads it, with lines and bounds."""

from __future__ import annotations

from typing import Any

import pytest

from flambeau.foundation.errors import InvalidInput, TooLarge
from flambeau.foundation.yaml_text import Duplicate, read_documents


def value_of(text: str) -> Any:
    documents = read_documents(text, source="f.yaml")
    return documents[0].value if documents else None


@pytest.mark.parametrize(
    ("text", "value"),
    [  # measured with kubectl: dependencies.md, "YAML: match kubectl"
        ("yes", True),
        ("off", False),
        ("n", False),
        ("y", True),
        ("012", 10),
        ("0o14", 12),
        ("0x1F", 31),
        ("1e3", 1000),
        ("1.5", 1.5),
        ("1:30", "1:30"),
        ("2024-01-01", "2024-01-01"),
        ("~", None),
        ("", None),
        ("'yes'", "yes"),
        ('"012"', "012"),
        ("|\n  12\n", "12\n"),
        ("-7", -7),
        ("1_000", 1000),
        ("08", 8),
        ("1.0", 1),
        ("127.0.0.1:9000", "127.0.0.1:9000"),
        (".", "."),
        ("e3", "e3"),
        ("[1, two]", [1, "two"]),
        ("{a: &x 1, b: *x}", {"a": 1, "b": 1}),
        ("{1: a, yes: b}", {"1": "a", "yes": "b"}),
        ("a: &a {x: 1, y: 2}\nb: {<<: *a, y: 3}", {"a": {"x": 1, "y": 2}, "b": {"x": 1, "y": 3}}),
        ("{'<<': 1}", {"<<": 1}),
    ],
)
def test_values_mean_what_kubectl_says(text: str, value: Any) -> None:
    read = value_of(text)
    assert (read, type(read)) == (value, type(value))


def test_duplicates_are_told_with_their_lines() -> None:
    [document] = read_documents("spec:\n  list:\n  - {a: 1, a: 2}\n  x: 1\n  x: 2\n", source="f.yaml")
    assert document.duplicates == (Duplicate("spec.list[0].a", 3, 3), Duplicate("spec.x", 5, 4))
    assert document.value == {"spec": {"list": [{"a": 2}], "x": 2}}


def test_documents_are_told_with_their_lines() -> None:
    documents = read_documents("a: 1\n---\n---\n# nothing\n---\nb: 2\n", source="f.yaml")
    assert [(document.value, document.line) for document in documents] == [({"a": 1}, 1), ({"b": 2}, 6)]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [", r"^f.yaml:\d+:\d+: not YAML"),
        ("\tx: 1", r"^f.yaml:1:1: not YAML"),
        ("a: *b", r"^f.yaml:1:4: not YAML"),
        ("a: 1\nb: !thing x", "^f.yaml:2: the tag !thing is not read"),
        ("!!python/object/apply:os.system ['true']", "^f.yaml:1: the tag .* is not read"),
        ("!!binary YQ==", "^f.yaml:1: the tag .* is not read"),
        ("? [a]\n: b", "^f.yaml:1: a key must be plain text"),
        ("a: 1\nb: {<<: 1}", "^f.yaml:2: << merges what is no mapping"),
        ("[" * 200 + "]" * 200, "^f.yaml:1: nested more than 100 deep"),
        ("a: 1e999", "^f.yaml:1: the number 1e999 is too large"),
    ],
)
def test_what_is_refused_says_where(text: str, message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        value_of(text)


def test_aliases_are_bounded() -> None:
    bomb = "a0: &a0 [1, 2]\n" + "".join(f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]\n" for n in range(1, 40))
    with pytest.raises(TooLarge):
        value_of(bomb)
    with pytest.raises(InvalidInput):
        value_of("a: &a [*a]")
