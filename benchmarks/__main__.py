"""Ask every question, print the answers, and write them into docs/performance.md.

Run: ``make bench``, or ``python -m benchmarks [QUESTION ...] [--short] [--write]``.
"""

from __future__ import annotations

import argparse
import os
import platform as machine
import re
import sys
import time
from collections.abc import Callable

from benchmarks import overhead, start, throughput
from benchmarks.archives import ROOT
from benchmarks.question import SHORT, Effort, Goal, Result, table

QUESTIONS: dict[str, Callable[[Effort], Result]] = {
    "throughput": throughput.ask,
    "overhead": overhead.ask,
    "start": start.ask,
}
DOCUMENT = ROOT / "docs" / "performance.md"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("questions", nargs="*", metavar="QUESTION", help=f"which ones: {', '.join(QUESTIONS)} (default: all)")
    parser.add_argument("--short", action="store_true", help="only see that they work: no peers, no figures worth keeping")
    parser.add_argument("--write", action="store_true", help="put the answers into docs/performance.md")
    options = parser.parse_args()
    if unknown := set(options.questions) - set(QUESTIONS):
        parser.error(f"no such question: {', '.join(sorted(unknown))}")
    goals: list[Goal] = []
    text = DOCUMENT.read_text()
    stamp = f"{time.strftime('%Y-%m-%d')}, {os.cpu_count()} cores, {machine.platform(terse=True)}, Python {machine.python_version()}."
    for name in options.questions or QUESTIONS:
        began = time.monotonic()
        result = QUESTIONS[name](SHORT if options.short else Effort())
        print(f"## {name} ({time.monotonic() - began:.0f} s)\n\n{result.tables}", flush=True)
        goals += result.goals
        text = put(text, name, f"{stamp}\n\n{result.tables}{_goals_table(result.goals)}")
    print(_goals_table(goals))
    if options.write:
        DOCUMENT.write_text(text)
    return 0


def put(document: str, name: str, text: str) -> str:
    """Return the document with the text between the markers of a question.

    Raises:
        ValueError: the document has no such markers.
    """
    pattern = re.compile(rf"(<!-- {name} -->\n).*?(<!-- end of {name} -->)", re.DOTALL)
    if not pattern.search(document):
        raise ValueError(f"the document has no markers for {name}")
    return pattern.sub(lambda found: f"{found[1]}{text.rstrip()}\n{found[2]}", document)


def _goals_table(goals: list[Goal] | tuple[Goal, ...]) -> str:
    if not goals:
        return ""
    return table(
        ["goal", "wanted", "measured", "reached"],
        [[each.what, each.wanted, each.measured, "yes" if each.reached else "no"] for each in goals],
    )


if __name__ == "__main__":
    sys.exit(main())
