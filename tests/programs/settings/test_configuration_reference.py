"""docs/configuration.md says what the code does: every key, and nothing else."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from flambeau.programs.settings.keys import KEYS
from flambeau.programs.settings.meanings import MODEL_YAML, PROPERTIES
from flambeau.programs.settings.model_yaml import KEYS as YAML_KEYS
from flambeau.serving.handlers.service import ISOLATE

TOOL = Path(__file__).parents[3] / "tools/configuration_reference.py"


def test_every_key_has_a_meaning() -> None:
    assert PROPERTIES.keys() == KEYS.keys()
    assert MODEL_YAML.keys() == {*YAML_KEYS, ISOLATE}


def test_the_document_is_current() -> None:
    spec = importlib.util.spec_from_file_location("configuration_reference", TOOL)
    assert spec is not None
    assert spec.loader is not None
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    assert tool.DOCUMENT.read_text() == tool.reference(), "run `make docs`"
