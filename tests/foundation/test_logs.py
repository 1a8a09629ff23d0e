from __future__ import annotations

import json
import re
import subprocess
import sys

import pytest

PROGRAM = """
import logging
from flambeau.foundation import logs
logs.configure("WARNING", {format!r}, levels={{"talkative": "DEBUG"}})
log = logging.getLogger("some.where")
log.info("not written")
log.warning("it is %s", "so", extra={{"fields": {{"model": "m", "worker": 3}}}})
logging.getLogger("talkative").debug("details")
try:
    raise ValueError("bad")
except ValueError:
    log.exception("failed")
log.error("%d", "no number")
log.error("half a pair \\ud800")
"""


def lines_of(format: str) -> list[str]:
    ran = subprocess.run([sys.executable, "-c", PROGRAM.format(format=format)], capture_output=True, text=True, timeout=30, check=True)
    return [line for line in ran.stderr.splitlines() if re.match(r"\d{4}-|\{", line)]


def test_text_lines_have_time_level_logger_message_and_fields() -> None:
    stamp = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z"
    forms = [
        rf"{stamp} WARNING some\.where: it is so model=m worker=3",
        rf"{stamp} DEBUG   talkative: details",
        rf"{stamp} ERROR   some\.where: failed",
        rf"{stamp} ERROR   some\.where: half a pair \\ud800",
    ]
    lines = lines_of("text")
    assert len(lines) == len(forms)
    for form, line in zip(forms, lines, strict=True):
        assert re.fullmatch(form, line)


def test_a_program_without_standard_error_goes_on() -> None:
    program = "import os, logging; from flambeau.foundation import logs; logs.configure(); logging.info('x'); os.write(1, b'on')"
    ran = subprocess.run(["sh", "-c", '"$0" -c "$1" 2>&-', sys.executable, program], capture_output=True, timeout=30, check=True)
    assert ran.stdout == b"on"


@pytest.mark.parametrize("name", ["time", "level", "logger", "message"])
def test_json_lines_have_the_same_as_keys(name: str) -> None:
    first, _, third, *_ = map(json.loads, lines_of("json"))
    assert name in first
    assert (first["message"], first["model"], first["worker"], first["level"]) == ("it is so", "m", 3, "warning")
    assert "ValueError: bad" in third["traceback"]
