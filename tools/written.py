"""What the tools that write documents from the code share."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path


def write_or_check(document: Path, text: str) -> int:
    """Write a document; with ``--check`` say whether it is current instead. Returns the exit code."""
    if "--check" in sys.argv[1:]:
        current = document.read_text() == text
        print(f"{document.name} is {'current' if current else 'not current: run make docs'}")
        return 0 if current else 1
    document.write_text(text)
    return 0


def table(heads: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    """Return a Markdown table."""
    lines = [heads, tuple("---" for _ in heads), *rows]
    return "".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |\n" for line in lines)
