from __future__ import annotations

import pytest

from flambeau.foundation.errors import InvalidInput
from flambeau.programs.settings.properties import parse_properties, without_remark


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("prometheus  # for Grafana", "prometheus"),
        ("prometheus\t# for Grafana", "prometheus"),
        ("10 #", "10"),
        ("# nothing yet", ""),
        ("#secret", "#secret"),
        ("http://host/#part", "http://host/#part"),
        ("http://host:80 # a # b", "http://host:80"),
        ('{"a": "x # y"}', '{"a": "x # y"}'),
        ('{"a": "x # y"}  # tail', '{"a": "x # y"}'),
        ('{"a": 1}# tail', '{"a": 1}'),
        ('{"a": 1} tail', '{"a": 1} tail'),
        ('{"a": 1, # broken', '{"a": 1, # broken'),
        ("plain", "plain"),
        ("", ""),
    ],
)
def test_a_remark_after_a_value_is_taken_off(written: str, meant: str) -> None:
    assert without_remark(written) == meant


def test_each_entry_knows_its_line_and_each_remark_is_told() -> None:
    text = '# head\n\nmodel_store=/models   # here\nmodel_snapshot={"a": \\\n  1} # there\njob_queue_size : 7\n'
    file = parse_properties(text, {}, file="config.properties")
    assert {key: (entry.value, entry.line) for key, entry in file.entries.items()} == {
        "model_store": ("/models", 3),
        "model_snapshot": ('{"a": 1}', 4),
        "job_queue_size": ("7", 6),
    }
    assert [warning.split(":")[0] for warning in file.warnings] == ["config.properties line 3", "config.properties line 4"]
    assert "model_store" in file.warnings[0]


def test_blanks_around_a_value_are_no_remark() -> None:
    file = parse_properties("job_queue_size = 7   \r\na=1\r\n", {}, file="c")
    assert file.entries["job_queue_size"].value == "7"
    assert file.entries["a"].line == 2
    assert file.warnings == ()


def test_the_last_of_repeated_keys_counts_and_is_told() -> None:
    file = parse_properties("a=1\na=2\n", {}, file="c")
    assert file.entries["a"].value == "2"
    assert file.warnings == ("c line 2: a is set again; line 1 no longer counts",)


def test_variables_are_filled_in_after_remarks_are_gone() -> None:
    file = parse_properties("a=$$STORE$$/x # y\n", {"STORE": "/m #1"}, file="c")
    assert file.entries["a"].value == "/m #1/x"


def test_an_unset_variable_is_refused_with_its_line() -> None:
    with pytest.raises(InvalidInput, match=r"c line 2: a uses \$\$NOPE\$\$"):
        parse_properties("\na=$$NOPE$$", {}, file="c")


def test_a_malformed_escape_is_refused_with_its_line() -> None:
    with pytest.raises(InvalidInput, match="line 1"):
        parse_properties("a=\\uZZZZ", {}, file="c")
