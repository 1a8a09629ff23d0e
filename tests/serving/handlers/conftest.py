from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from flambeau.serving.handlers.service import Outcome, Service, load_service
from flambeau.serving.model import ModelConfig, ModelSpec

Load = Callable[..., Service]


@pytest.fixture(autouse=True)
def own_imports() -> Iterator[None]:
    """A worker process has one model; here each test forgets its own modules and paths."""
    path, modules = list(sys.path), set(sys.modules)
    yield
    sys.path[:] = path
    for name in set(sys.modules) - modules:
        if getattr(sys.modules[name], "__file__", None) and "pytest-of" in str(sys.modules[name].__file__):
            del sys.modules[name]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    """Load a model from files given as name to text: ``load({"h.py": "..."}, "h.py")``."""

    def run(files: dict[str, str], handler: str, *, model: dict[str, str] | None = None, device: str = "cpu", **fields: Any) -> Service:
        for name, text in files.items():
            (tmp_path / name).write_text(text)
        spec = ModelSpec(
            "m", "1.0", tmp_path, "m.mar", handler, manifest={"model": model or {}}, config=ModelConfig(device=device), **fields
        )
        return load_service(spec)

    return run


def predict(service: Service, rows: list[Any], headers: dict[str, str] | None = None) -> list[Outcome]:
    """Hand a batch over, each row with the same headers."""
    fields = list((headers or {}).items())
    return service.predict(rows, [fields] * len(rows), [f"id-{index}" for index in range(len(rows))])


@pytest.fixture
def ask() -> Callable[..., list[Outcome]]:
    return predict


@pytest.fixture(autouse=True)
def quiet(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
