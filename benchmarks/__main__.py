"""Ask every question, print the answers, and write them into docs/performance.md.

Run: ``make bench``, or ``python -m benchmarks [QUESTION ...] [--short] [--write]``.
"""

from __future__ import annotations

import argparse
import os
import platform as machine
import shutil
import signal
import sys
import time
from collections.abc import Callable

from benchmarks import gateway, many_services, overhead, overload, platform, profile, start, streaming, tensors, throughput
from benchmarks.archives import ROOT
from benchmarks.question import SHORT, Effort, Goal, Result, goals_table
from benchmarks.report import Report
from benchmarks.sides.all import left_out

QUESTIONS: dict[str, Callable[[Effort], Result]] = {
    "throughput": throughput.ask,
    "overhead": overhead.ask,
    "start": start.ask,
    "tensors": tensors.ask,
    "streaming": streaming.ask,
    "overload": overload.ask,
    "gateway": gateway.ask,
    "platform": platform.ask,
    "many_services": many_services.ask,
    "profile": profile.ask,
}
BUSY_SHARE_MAX = 0.25
"""Of the cores: more load than this before the first question is said beside the figures."""
DOCUMENT = ROOT / "docs" / "performance.md"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("questions", nargs="*", metavar="QUESTION", help=f"which ones: {', '.join(QUESTIONS)} (default: all)")
    parser.add_argument("--short", action="store_true", help="only see that they work: no peers, no figures worth keeping")
    parser.add_argument("--write", action="store_true", help="put the answers into docs/performance.md")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # so that what was started is stopped
    if unknown := set(options.questions) - set(QUESTIONS):
        parser.error(f"no such question: {', '.join(sorted(unknown))}")
    if shutil.which("wrk") is None:
        parser.error("wrk, which makes the load, is not installed: make bench-peers, or Debian's package wrk")
    missing = "" if options.short else ", ".join(left_out())
    if missing:
        print(f"Left out, because they are not installed: {missing}\n", flush=True)
    report, busy = Report(DOCUMENT, list(QUESTIONS)), os.getloadavg()[1]
    goals: list[Goal] = []
    for name in options.questions or QUESTIONS:
        began = time.monotonic()
        result = QUESTIONS[name](SHORT if options.short else Effort())
        print(f"## {name} ({time.monotonic() - began:.0f} s)\n\n{result.tables}", flush=True)
        goals += result.goals
        if options.write:
            report.put(name, result, _stamp(missing, busy))
    print(goals_table(goals))
    return 0


def _stamp(missing: str, busy: float) -> str:
    """Return what every table says first: when and where it was measured, who was not there, and whether others used the machine.

    Args:
        missing: peers that are not installed.
        busy: load average before the first question.
    """
    where = f"{time.strftime('%Y-%m-%d')}, {os.cpu_count()} cores, {machine.platform(terse=True)}, Python {machine.python_version()}."
    if busy > BUSY_SHARE_MAX * (os.cpu_count() or 1):
        where += f" **Other programs were running (load average {busy:.1f}): measure again when the machine is quiet.**"
    return f"{where} Not installed: {missing}." if missing else where


if __name__ == "__main__":
    sys.exit(main())
