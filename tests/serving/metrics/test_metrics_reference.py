"""docs/metrics.md says what the code does."""

from __future__ import annotations

from tools.metrics_reference import DOCUMENT, reference


def test_the_document_is_current() -> None:
    assert DOCUMENT.read_text() == reference(), "run `make docs`"
