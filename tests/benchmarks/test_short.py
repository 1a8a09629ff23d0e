"""Every question in its short form: it works and can be written down. What it measures means nothing here and is not looked at."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from benchmarks.__main__ import DOCUMENT, QUESTIONS
from benchmarks.question import SHORT
from benchmarks.report import GOALS, Report, between

pytestmark = [
    pytest.mark.skipif(shutil.which("wrk") is None, reason="wrk is not installed; make test brings it"),
    pytest.mark.timeout(240),  # longer than what kubectl waits for, which then says why
]


@pytest.mark.parametrize("name", QUESTIONS)
def test_the_short_form_works(name: str, tmp_path: Path) -> None:
    document = tmp_path / "performance.md"
    document.write_text(DOCUMENT.read_text())
    result = QUESTIONS[name](SHORT)
    assert "flambeau" in result.tables or "control plane" in result.tables
    Report(document, list(QUESTIONS)).put(name, result, "Today.")
    written = document.read_text()
    assert between(written, name) == f"Today.\n\n{result.tables.rstrip()}\n"
    rows = between(written, GOALS)
    assert all(f"| {name} | {goal.what} | {goal.wanted} | {goal.measured} |" in rows for goal in result.goals)
