"""Tables line up; fields are found by their path."""

from typing import Any

import pytest

from flambeau.cli import show
from flambeau.foundation.errors import InvalidInput


def test_a_table_lines_up() -> None:
    lines = show.table_lines(["NAME", "READY"], [["a-long-name", "True"], ["b", ""]])
    assert lines == ["NAME          READY", "a-long-name   True", "b"]


def test_wide_columns_and_namespaces_are_shown_when_asked() -> None:
    table = {
        "columnDefinitions": [{"name": "Name"}, {"name": "IP", "priority": 1}],
        "rows": [{"cells": ["p", None], "object": {"metadata": {"namespace": "n", "labels": {"b": "2", "a": "1"}}}}],
    }
    assert show.server_table(table, show.Columns(namespace=True)) == (["NAMESPACE", "NAME"], [["n", "p"]])
    assert show.server_table(table, show.Columns(wide=True), label="pod/") == (["NAME", "IP"], [["pod/p", ""]])
    assert show.server_table(table, show.Columns(labels=True)) == (["NAME", "LABELS"], [["p", "a=1,b=2"]])


def test_columns_of_ones_own() -> None:
    objects = [{"metadata": {"name": "a"}, "status": {"url": "http://a"}}, {"metadata": {"name": "b"}}]
    assert show.by_custom_columns(objects, "N:.metadata.name,URL:{.status.url}") == ["N   URL", "a   http://a", "b   <none>"]
    for wrong in ("", "N", "N:", ":.metadata.name", "N:.a,"):
        with pytest.raises(InvalidInput, match="cannot read the columns"):
            show.by_custom_columns(objects, wrong)


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("{.status.url}", "http://x"),
        (".status.url", "http://x"),
        ("{.items[*].name}", "a b"),
        ("{.items[1].name}", "b"),
        ("{.items[?(@.name=='b')].value}", "2"),
        ("{.labels.app\\.io/name}", "m"),
        ("{.labels['app.io/name']}", "m"),
        ('{.status.url}{"\\n"}', "http://x\n"),
        ("{.absent.field}", ""),
    ],
)
def test_jsonpath(template: str, text: str) -> None:
    value: dict[str, Any] = {
        "status": {"url": "http://x"},
        "items": [{"name": "a", "value": 1}, {"name": "b", "value": 2}],
        "labels": {"app.io/name": "m"},
    }
    assert show.by_jsonpath(value, template) == text


def test_a_jsonpath_that_is_not_understood_says_so() -> None:
    with pytest.raises(InvalidInput, match="cannot read the jsonpath"):
        show.by_jsonpath({}, "{.items[1:2]}")


def test_yaml_has_blocks_for_texts_with_lines() -> None:
    assert show.as_yaml({"b": "one\ntwo\n", "a": [{"c": None}]}) == "a:\n- c: null\nb: |\n  one\n  two\n"
