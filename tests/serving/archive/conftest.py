from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture
def model_files(tmp_path: Path) -> Path:
    """A folder with the files of a small model."""
    folder = tmp_path / "model"
    extra = folder / "extra"
    for kept in (extra / "nested", extra / ".git", extra / "__pycache__", extra / "__MACOSX"):
        kept.mkdir(parents=True)
        (kept / "inner.txt").write_text(kept.name)
    (extra / ".hidden").write_text("kept")
    (folder / "handler.py").write_text("def handle(data, context):\n    return data\n")
    (folder / "net.py").write_text("class Net: ...\n")
    (folder / "weights.pt").write_bytes(bytes(range(256)) * 40)
    (folder / "a.json").write_text("{}")
    (folder / "b.json").write_text("[]")
    (folder / "requirements.txt").write_text("numpy\n")
    (folder / "model-config.yaml").write_text("minWorkers: 1\n")
    return folder
