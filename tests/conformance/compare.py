"""``make conformance``: put every case to the real TorchServe, record its answers, put the same to ours, and print every difference.

Run: ``python -m tests.conformance.compare [--recorded] [--record-only] [SET-UP ...]``
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter

from tests.conformance.asking import Answer
from tests.conformance.case import Case, all_setups, cases_of
from tests.conformance.differences import Meant, all_meant, differences, meant_for
from tests.conformance.recordings import ask_all, record, recorded_answers
from tests.conformance.servers import ORIGINAL, OURS


def main() -> int:
    """Compare, print, and return 0 if nothing but meant differences is left."""
    options = _options()
    counts: Counter[str] = Counter()
    used: set[Meant] = set()
    for setup in all_setups().values():
        if options.setups and setup.name not in options.setups:
            continue
        if not options.recorded:
            print(f"== {setup.name}: asking the original", flush=True)
            record(setup.name, ask_all(ORIGINAL, setup))
        if options.record_only:
            continue
        cases = [case for case in cases_of(setup.name) if case.pending is None]
        counts["pending"] += len(cases_of(setup.name)) - len(cases)
        if setup.pending or not cases:
            print(f"== {setup.name}: pending")
            counts["pending"] += len(cases)
            continue
        began = time.monotonic()
        answers, originals = ask_all(OURS, setup, cases), recorded_answers(setup.name)
        print(f"== {setup.name}: ours took {time.monotonic() - began:.1f} s", flush=True)
        for case in cases:
            counts[_compared(case, originals[case.id], answers[case.id], used)] += 1
    unused = [] if options.setups or options.record_only else [meant for meant in all_meant() if meant not in used and not meant.varies]
    for meant in unused:
        print(f"no longer differs: {meant.row}: {', '.join(meant.cases)}: {', '.join(meant.fields)}")
    print(
        f"\n{sum(counts.values())} cases: "
        + ", ".join(f"{counts[word]} {word}" for word in ("equal", "differ on purpose", "BUG", "pending"))
    )
    return 1 if counts["BUG"] or unused else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--recorded", action="store_true", help="compare with what is recorded; the original is not needed")
    parser.add_argument("--record-only", action="store_true", help="don't ask ours")
    parser.add_argument("setups", nargs="*", help="only these set-ups")
    return parser.parse_args()


def _compared(case: Case, original: Answer, flambeau: Answer, used: set[Meant]) -> str:
    found = [(difference, meant_for(case.id, difference)) for difference in differences(original, flambeau)]
    here = {meant for _, meant in found if meant is not None}
    used |= here
    bugs = [difference for difference, meant in found if meant is None]
    if bugs:
        print(f"BUG {case.id}", *(f"    {difference}" for difference in bugs), sep="\n")
        return "BUG"
    return "differ on purpose" if any(meant.cases for meant in here) else "equal"


if __name__ == "__main__":
    sys.exit(main())
