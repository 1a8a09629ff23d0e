"""Put every case to our server and hold the answers against the recorded ones of the real TorchServe; no Java is needed.

One server per set-up answers all its cases, in order, when the first of them is tested.
"""

from __future__ import annotations

from functools import cache

import pytest

from tests.conformance.asking import Answer
from tests.conformance.case import Case, all_cases, all_setups, cases_of
from tests.conformance.differences import all_meant, differences, meant_for
from tests.conformance.recordings import ask_all, recorded_answers
from tests.conformance.servers import OURS

pytestmark = pytest.mark.timeout(300)

_ready = sorted(
    (case for case in all_cases() if case.pending is None and all_setups()[case.setup].pending is None), key=lambda case: case.setup
)
_pending = [case for case in all_cases() if case not in _ready]


@cache
def _ours(setup: str) -> dict[str, Answer]:
    return ask_all(OURS, all_setups()[setup], [case for case in cases_of(setup) if case in _ready])


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
    gone = [f"{meant.row}: {meant.cases} {meant.fields}" for meant in all_meant() if meant not in seen]
    assert not gone, "no longer different, take them out of expected_differences.yaml:\n" + "\n".join(gone)


def test_each_case_is_recorded() -> None:
    missing = [case.id for case in all_cases() if case.id not in _recorded(case.setup)]
    assert not missing, "run `make conformance`"


def test_what_is_pending() -> None:
    features = sorted({case.pending or all_setups()[case.setup].pending or "" for case in _pending})
    print(f"{len(_pending)} cases wait for: {', '.join(features) or 'nothing'}")
