"""``flambeau doctor``: what of a TorchServe set-up runs unchanged, what differs, what has to change."""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter


def doctor(path: Path, /, *, output: Annotated[Literal["text", "json"], Parameter(name=["--output", "-o"])] = "text") -> int:
    """Look at a TorchServe set-up. Nothing of it is run; the exit status is 1 if something has to change.

    Args:
        path: a folder with config.properties, archives and scripts, or one of these files.
        output: ``text`` for people, ``json`` for scripts, such as `--output json`.
    """
    from flambeau.programs.doctor.findings import COMPATIBILITY, Level  # noqa: PLC0415 - only this command pays for it
    from flambeau.programs.doctor.survey import examine  # noqa: PLC0415

    report = examine(path.expanduser().absolute(), os.environ)
    if output == "json":
        findings = [asdict(finding) for finding in report.findings]
        print(json.dumps({"path": report.path, "ready": report.is_ready, "counts": report.counts, "findings": findings}, indent=2))
        return 0 if report.is_ready else 1
    for finding in report.findings:
        print(f"{finding.level:<9}  {finding.place}: {finding.text}")
        if finding.hint:
            print(f"{'':<11}{finding.hint}")
        if finding.row:
            print(f"{'':<11}see {COMPATIBILITY}: {finding.row}")
    counts = report.counts
    print(
        f"\n{counts[Level.UNCHANGED]} run unchanged, {counts[Level.DIFFERS]} differ, {counts[Level.ADVICE]} could be better, "
        f"{counts[Level.CHANGE]} to change"
    )
    return 0 if report.is_ready else 1
