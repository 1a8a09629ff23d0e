"""Put every case to our server and hold the answers against the recorded ones of the real TorchServe; no Java is needed.

One server per set-up answers all its cases, in order, when the first of them is tested.
"""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache

import pytest

from tests.conformance.asking import Answer
from tests.conformance.case import Case, all_cases, all_setups
from tests.conformance.differences import all_meant, differences, meant_for
from tests.conformance.recordings import ask_all, recorded_answers
from tests.conformance.servers import OURS, ROOT

pytestmark = pytest.mark.timeout(300)

SERVERS_AT_ONCE = 3
COMPATIBILITY = ROOT / "docs" / "compatibility.md"

_ready = sorted(
    (case for case in all_cases() if case.pending is None and all_setups()[case.setup].pending is None), key=lambda case: case.setup
)
_pending = [case for case in all_cases() if case not in _ready]


@cache
def _asked() -> dict[str, Future[dict[str, Answer]]]:
    """Ask every set-up, some at a time: a start is a wait for imports more than it is work."""
    by_setup: dict[str, list[Case]] = {}
    for case in _ready:
        by_setup.setdefault(case.setup, []).append(case)
    threads = ThreadPoolExecutor(SERVERS_AT_ONCE)
    asked = {setup: threads.submit(ask_all, OURS, all_setups()[setup], cases) for setup, cases in by_setup.items()}
    threads.shutdown(wait=False)
    return asked


def _ours(setup: str) -> dict[str, Answer]:
    return _asked()[setup].result()


@cache
def _recorded(setup: str) -> dict[str, Answer]:
    return recorded_answers(setup)


def _id_of(case: Case) -> str:
    return case.id


@pytest.mark.parametrize("case", _ready, ids=_id_of)
def test_answers_as_torchserve_does(case: Case) -> None:
    found = differences(_recorded(case.setup)[case.id], _ours(case.setup)[case.id])
    bugs = [str(difference) for difference in found if meant_for(case.id, difference) is None]
    assert not bugs, "\n".join(bugs)


def test_each_meant_difference_is_there() -> None:
    seen = {
        meant_for(case.id, difference)
        for case in _ready
        for difference in differences(_recorded(case.setup)[case.id], _ours(case.setup)[case.id])
    }
    gone = [f"{meant.row}: {meant.cases} {meant.fields}" for meant in all_meant() if meant not in seen and not meant.varies]
    assert not gone, "no longer different, take them out of expected_differences.yaml:\n" + "\n".join(gone)


def test_each_meant_difference_has_its_row() -> None:
    topics = {line.split(" | ")[0].removeprefix("| ") for line in COMPATIBILITY.read_text().splitlines() if line.startswith("| ")}
    assert {meant.row for meant in all_meant()} <= topics


def test_each_case_is_recorded() -> None:
    missing = [case.id for case in all_cases() if case.id not in _recorded(case.setup)]
    assert not missing, "run `make conformance`"


def test_what_is_pending() -> None:
    features = sorted({case.pending or all_setups()[case.setup].pending or "" for case in _pending})
    print(f"{len(_pending)} cases wait for: {', '.join(features) or 'nothing'}")
