"""docs/metrics.md says what the code does."""

from __future__ import annotations

import importlib.util
from pathlib import Path

TOOL = Path(__file__).parents[3] / "tools/metrics_reference.py"


def test_the_document_is_current() -> None:
    spec = importlib.util.spec_from_file_location("metrics_reference", TOOL)
    assert spec is not None
    assert spec.loader is not None
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    assert tool.DOCUMENT.read_text() == tool.reference(), "run `make docs`"
