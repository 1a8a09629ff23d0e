"""The original's answers, one JSON file per set-up, one line per case, and how a whole set-up is asked."""

from __future__ import annotations

import json
from pathlib import Path

from tests.conformance.asking import Answer, answer_of
from tests.conformance.case import HERE, Case, Setup, cases_of
from tests.conformance.servers import Server, Side


def ask_all(side: Side, setup: Setup, cases: list[Case] | None = None) -> dict[str, Answer]:
    """Start a server and return its answers to a set-up's cases, in order."""
    with Server(side, setup) as server:
        return {case.id: answer_of(server, case) for case in (cases_of(setup.name) if cases is None else cases)}


def recorded_answers(setup: str) -> dict[str, Answer]:
    """Return what the original answered; empty if nothing is recorded."""
    path = _path(setup)
    return json.loads(path.read_text()) if path.exists() else {}


def record(setup: str, answers: dict[str, Answer]) -> None:
    """Write what the original answered."""
    lines = ",\n".join(f"{json.dumps(case_id)}: {json.dumps(answer, separators=(',', ':'))}" for case_id, answer in answers.items())
    _path(setup).parent.mkdir(exist_ok=True)
    _path(setup).write_text(f"{{\n{lines}\n}}\n")


def _path(setup: str) -> Path:
    return HERE / "recorded" / f"{setup}.json"
