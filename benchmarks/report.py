"""Keep docs/performance.md: each question's tables between its markers, and the goals of all questions on top.

A question that is asked again replaces its own part and its own goals; those of the others stay as they were.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from benchmarks.question import Result, goal_rows, table

GOALS = "goals"
HEAD = ["question", "goal", "wanted", "measured", "reached"]


class Report:
    """The document, and the picture beside it.

    Args:
        document: a Markdown file with markers for every question and for the goals.
        order: of the questions in the goals' table.
    """

    def __init__(self, document: Path, order: Sequence[str]) -> None:
        self._document = document
        self._order = order

    def put(self, name: str, result: Result, stamp: str) -> None:
        """Write what came of a question, at once: a run that breaks later has lost nothing."""
        text = put(self._document.read_text(), name, f"{stamp}\n\n{result.tables}")
        rows = [row for row in _rows(between(text, GOALS)) if row[0] != name and row[0] in self._order]
        rows += [[name, *cells] for cells in goal_rows(result.goals)]
        rows.sort(key=lambda row: self._order.index(row[0]))
        self._document.write_text(put(text, GOALS, table(HEAD, rows)))
        if result.picture:
            self._document.with_suffix(".svg").write_text(result.picture)


def put(document: str, name: str, text: str) -> str:
    """Return the document with the text between the markers of a name.

    Raises:
        ValueError: the document has no such markers.
    """
    old = between(document, name)
    start, end = _markers(name)
    return document.replace(f"{start}{old}{end}", f"{start}{text.rstrip()}\n{end}")


def between(document: str, name: str) -> str:
    """Return what stands between the markers of a name.

    Raises:
        ValueError: the document has no such markers.
    """
    start, end = _markers(name)
    found = re.search(f"{re.escape(start)}(.*?){re.escape(end)}", document, re.DOTALL)
    if found is None:
        raise ValueError(f"the document has no markers for {name}")
    return found[1]


def _markers(name: str) -> tuple[str, str]:
    return f"<!-- {name} -->\n", f"<!-- end of {name} -->"


def _rows(text: str) -> list[list[str]]:
    """Return the cells of a Markdown table, without its head."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    return [line.strip("| ").split(" | ") for line in lines[2:]]
