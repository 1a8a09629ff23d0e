"""What a case is, and how the YAML files under ``cases/`` say it. Pure but for reading those files.

A file of cases names the set-up (``setups.yaml``) whose server answers it. All files of a set-up share one server, and its cases run in
the order they are written, so that a case may build on the one before.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import yaml

HERE = Path(__file__).parent

_CASE_KEYS = frozenset(
    {"id", "do", "at", "headers", "body", "form", "multipart", "raw", "grpc", "run", "metric", "mask", "until", "together", "chunks"}
    | {"seconds", "pending", "files", "look", "sort", "snapshots"}
)


@dataclass(frozen=True, slots=True)
class Case:
    """One question for both servers."""

    id: str
    """Unique over all files: ``<file>/<id>``."""
    setup: str
    ask: Mapping[str, Any]
    """What to do, as written; ``asking.py`` reads it."""
    mask: tuple[str, ...] = ()
    """JSON paths (``workers.*.pid``) whose value differs from run to run."""
    pending: str | None = None
    """The feature that has to be built before we can be compared; the answer of the original is recorded all the same."""


@dataclass(frozen=True, slots=True)
class Setup:
    """One server: its settings and what is in its model store."""

    name: str
    config: str
    """config.properties, with ``{inference_port}`` and the like."""
    flags: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    models: tuple[Mapping[str, Any], ...] = ()
    """Archives to make; see ``archives.py``."""
    ready: tuple[str, ...] = ()
    """Models that must have a ready worker before the first case."""
    serverless: bool = False
    """Its cases run commands only."""
    config_file: str | None = None
    """Where the settings are written and left to be found; None: config.properties, named with --ts-config."""
    pending: str | None = None


@cache
def all_setups() -> dict[str, Setup]:
    """Return the set-ups by name."""
    documents = yaml.safe_load((HERE / "setups.yaml").read_text())
    common = documents.pop("common")
    return {name: _setup(name, document, common) for name, document in documents.items()}


def _setup(name: str, document: dict[str, Any], common: str) -> Setup:
    return Setup(
        name=name,
        config=common + document.get("config", ""),
        flags=tuple(document.get("flags", ())),
        environment=document.get("environment", {}),
        models=tuple(document.get("models", ())),
        ready=tuple(document.get("ready", ())),
        serverless=document.get("serverless", False),
        config_file=document.get("config_file"),
        pending=document.get("pending"),
    )


@cache
def all_cases() -> tuple[Case, ...]:
    """Return every case, by file and in the order written.

    Raises:
        ValueError: a case has an unknown key, or an id is used twice.
    """
    cases: dict[str, Case] = {}
    for path in sorted((HERE / "cases").glob("*.yaml")):
        document = yaml.safe_load(path.read_text())
        for ask in document["cases"]:
            case_id = f"{path.stem}/{ask['id']}"
            if unknown := ask.keys() - _CASE_KEYS:
                raise ValueError(f"{case_id}: unknown keys {sorted(unknown)}")
            if case_id in cases:
                raise ValueError(f"{case_id} is there twice")
            mask = (*document.get("mask", ()), *ask.get("mask", ()))
            at = ask.get("at", document.get("at", "inference"))
            cases[case_id] = Case(case_id, document["setup"], {**ask, "at": at}, mask, ask.get("pending", document.get("pending")))
    return tuple(cases.values())


def cases_of(setup: str) -> list[Case]:
    """Return the cases of one set-up, in order."""
    return [case for case in all_cases() if case.setup == setup]
