"""The document: what a question writes, and what it leaves alone."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import pytest

from benchmarks.picture import Group, bars
from benchmarks.question import Goal, Result
from benchmarks.report import GOALS, Report, between, put

ORDER = ["first", "second"]
EMPTY = "".join(f"<!-- {name} -->\n<!-- end of {name} -->\n" for name in (GOALS, *ORDER))


def result(measured: str, *, reached: bool = True) -> Result:
    return Result("| a |\n| --- |\n| 1 |\n\n", (Goal("fast", "< 3 ms", measured, reached),))


@pytest.fixture
def report(tmp_path: Path) -> Report:
    (tmp_path / "performance.md").write_text(EMPTY)
    return Report(tmp_path / "performance.md", ORDER)


def test_goals_of_a_question_that_is_not_asked_again_stay(report: Report, tmp_path: Path) -> None:
    report.put("second", result("2 ms"), "Monday.")
    report.put("first", result("9 ms", reached=False), "Monday.")
    report.put("second", result("1 ms"), "Tuesday.")
    text = (tmp_path / "performance.md").read_text()
    rows = [line for line in between(text, GOALS).splitlines() if line.startswith(("| first", "| second"))]
    assert rows == ["| first | fast | < 3 ms | 9 ms | **no** |", "| second | fast | < 3 ms | 1 ms | yes |"]
    assert (between(text, "first")[:7], between(text, "second")[:8]) == ("Monday.", "Tuesday.")


def test_a_question_that_is_gone_loses_its_goals(report: Report, tmp_path: Path) -> None:
    report.put("second", result("2 ms"), "Monday.")
    Report(tmp_path / "performance.md", ["first"]).put("first", result("1 ms"), "Tuesday.")
    assert "| second" not in between((tmp_path / "performance.md").read_text(), GOALS)


def test_a_document_without_markers_is_refused() -> None:
    with pytest.raises(ValueError, match="no markers for third"):
        put(EMPTY, "third", "text")


def test_a_picture_is_written_beside_the_document(report: Report, tmp_path: Path) -> None:
    report.put("first", Result("", picture=bars([Group("A & B", {"flambeau": 2.0, "other": 1.0}), Group("none", {"flambeau": 0.0})])), "")
    drawn = ElementTree.fromstring((tmp_path / "performance.svg").read_text())
    widths = [float(each.get("width", 0)) for each in drawn.iter("{http://www.w3.org/2000/svg}rect")][1:]
    assert (widths[0], widths[2]) == (2 * widths[1], 0.0)
