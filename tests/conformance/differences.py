"""Compare two answers, and hold the differences against those that are meant. Pure but for reading the list of those."""

from __future__ import annotations

import fnmatch
import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import yaml

from tests.conformance.case import HERE

Answer = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Difference:
    """One place in which two answers to a case differ."""

    field: str
    """Dotted: ``status``, ``headers.connection``, ``body.0.message``."""
    original: Any
    flambeau: Any

    def __str__(self) -> str:
        return f"{self.field}\n      original: {_short(self.original)}\n      flambeau: {_short(self.flambeau)}"


@dataclass(frozen=True, slots=True, eq=False)  # values may be lists, which have no hash
class Meant:
    """A difference on purpose."""

    row: str
    """The topic of its row in docs/compatibility.md."""
    cases: tuple[str, ...]
    """Case ids; ``*`` matches as in a shell. Empty: every case, and one that differs in nothing else counts as equal."""
    fields: tuple[str, ...]
    original: Any
    """What the original answers, where it has to be exactly that; else ANYTHING."""
    flambeau: Any
    varies: bool = False
    """The original answers now like this, now like that: it need not differ each time."""

    def covers(self, case_id: str, difference: Difference) -> bool:
        """Tell whether a difference is this one."""
        return (
            (not self.cases or any(fnmatch.fnmatchcase(case_id, pattern) for pattern in self.cases))
            and any(fnmatch.fnmatchcase(difference.field, pattern) for pattern in self.fields)
            and self.original in (ANYTHING, difference.original)
            and self.flambeau in (ANYTHING, difference.flambeau)
        )


ANYTHING = object()
ABSENT = "(absent)"


@cache
def all_meant() -> tuple[Meant, ...]:
    """Return the differences on purpose."""
    document = yaml.safe_load((HERE / "expected_differences.yaml").read_text())
    return tuple(
        Meant(
            entry["row"],
            tuple(entry.get("cases", ())),
            tuple(entry["fields"]),
            entry.get("original", ANYTHING),
            entry.get("flambeau", ANYTHING),
            entry.get("varies", False),
        )
        for entry in document
    )


def meant_for(case_id: str, difference: Difference) -> Meant | None:
    """Return the entry that covers a difference."""
    return next((meant for meant in all_meant() if meant.covers(case_id, difference)), None)


def differences(original: Any, flambeau: Any) -> list[Difference]:
    """Return every difference between two answers."""
    return list(_walk("", original, flambeau))


def _walk(path: str, original: Any, flambeau: Any) -> Iterator[Difference]:
    if isinstance(original, dict) and isinstance(flambeau, dict):
        for key in [*original, *(key for key in flambeau if key not in original)]:
            yield from _walk(f"{path}.{key}" if path else key, original.get(key, ABSENT), flambeau.get(key, ABSENT))
    elif isinstance(original, list) and isinstance(flambeau, list) and len(original) == len(flambeau):
        for index, (left, right) in enumerate(zip(original, flambeau, strict=True)):
            yield from _walk(f"{path}.{index}", left, right)
    elif original != flambeau:
        yield from _of_values(path, original, flambeau)


def _of_values(path: str, original: Any, flambeau: Any) -> Iterator[Difference]:
    """Look into JSON texts, and tell a text that only says more from one that says something else."""
    parsed = _json(original), _json(flambeau)
    if all(isinstance(value, dict | list) for value in parsed):
        inner = list(_walk(path, *parsed))
        yield from inner or [Difference(f"{path} layout", original, flambeau)]
    elif path.endswith((".message", "details", ".status")) and isinstance(flambeau, str) and flambeau.startswith(original):
        yield Difference(f"{path} hint", original, flambeau)
    else:
        yield Difference(path, original, flambeau)


def _json(value: Any) -> Any:
    try:
        return json.loads(value)
    except (TypeError, ValueError):
        return None


def _short(value: Any, length_max: int = 600) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= length_max else f"{text[:length_max]}..."
