#!/usr/bin/env python3
"""Write the table of failures into docs/troubleshooting.md, below its mark; ``--check`` says whether the file is current instead."""

from __future__ import annotations

import sys
from pathlib import Path

from tests.system.failures import FAILURES, Failure, Told
from tools.written import write_or_check

DOCUMENT = Path(__file__).parents[1] / "docs" / "troubleshooting.md"
MARK = "<!-- The rest is written by `make docs` from tests/system/failures.py, where each row is a test. -->\n"
_HEAD = """
`kubectl get isvc NAME -o yaml` and `kubectl describe isvc NAME` have the condition `Ready`, whose message is the failing layer's own, and
the answer at the gateway repeats it. A revision that fails takes no requests from the one that serves: `flambeau rollout undo NAME` ends
the attempt. Everything is tried again with growing pauses: a corrected Secret or a started server needs no further word.
"""
_TITLES = {"YAML": "YAML", "secrets": "Secrets", "canary": "Canaries"}
_PLACES = {Told.REFUSED: "at apply", Told.READY: "Ready", Told.CANARY: "CanaryPredictorReady", Told.ANSWER: "in the answer"}


def reference() -> str:
    """Return the document's text: what people wrote, then the table."""
    written, _, _ = DOCUMENT.read_text().partition(MARK)
    topics = list(dict.fromkeys(failure.topic for failure in FAILURES))
    return written + MARK + _HEAD + "".join(_section(topic) for topic in topics)


def _section(topic: str) -> str:
    lines = ["| what is wrong | where it is told | in these words | what to do |", "| --- | --- | --- | --- |"]
    lines += [_row(failure) for failure in FAILURES if failure.topic == topic]
    return f"\n### {_TITLES.get(topic, topic.capitalize())}\n\n" + "\n".join(lines) + "\n"


def _row(failure: Failure) -> str:
    place = _PLACES[failure.told] + (f", {failure.reason}" if failure.reason else "")
    if failure.told is Told.ANSWER:
        place += f", {failure.answer[1]}"
    words = ", ".join(f"`{word}`" for word in failure.words)
    return "| " + " | ".join((failure.cause, place, words, failure.remedy)).replace("||", "\\|\\|") + " |"


if __name__ == "__main__":
    sys.exit(write_or_check(DOCUMENT, reference()))
