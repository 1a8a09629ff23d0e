"""What every benchmark gives back: tables for docs/performance.md, and the goals it measured."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Goal:
    """One line of the goals' table."""

    what: str
    wanted: str
    measured: str
    reached: bool


@dataclass(frozen=True)
class Result:
    """What came of a question."""

    tables: str
    """Markdown."""
    goals: tuple[Goal, ...] = ()
    picture: str = ""
    """SVG, for docs/performance.svg."""


@dataclass(frozen=True)
class Effort:
    """How long to measure."""

    seconds: int = 2
    """Of one cell."""
    rounds: int = 2
    """Every side is measured once a round, in turn; the best round counts."""
    peers: bool = True
    """Whether the peers are measured too, where they are installed."""
    brief: bool = False
    """Whether one workload or object of each sort will do."""


SHORT = Effort(seconds=1, rounds=1, peers=False, brief=True)
"""Enough to see that a benchmark works; its figures mean nothing."""


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table, ended by an empty line."""
    lines = ["| " + " | ".join(cells) + " |" for cells in (head, ["---"] * len(head), *rows)]
    return "\n".join(lines) + "\n\n"


def ratio(ours: float, theirs: float) -> str:
    """Return ``1.43x``."""
    return f"{ours / theirs:.2f}x"


def goal_rows(goals: Iterable[Goal]) -> list[list[str]]:
    """Return a table's row for each goal."""
    return [[each.what, each.wanted, each.measured, "yes" if each.reached else "**no**"] for each in goals]


def goals_table(goals: Iterable[Goal]) -> str:
    """Return the goals as a Markdown table."""
    return table(["goal", "wanted", "measured", "reached"], goal_rows(goals))
