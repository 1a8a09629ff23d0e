"""docs/configuration.md says what the code does: every key, and nothing else."""

from __future__ import annotations

from flambeau.programs.settings.keys import KEYS
from flambeau.programs.settings.meanings import MODEL_YAML, PROPERTIES
from flambeau.programs.settings.model_yaml import KEYS as YAML_KEYS
from flambeau.serving.handlers.service import ISOLATE
from tools.configuration_reference import DOCUMENT, reference


def test_every_key_has_a_meaning() -> None:
    assert PROPERTIES.keys() == KEYS.keys()
    assert MODEL_YAML.keys() == {*YAML_KEYS, ISOLATE}


def test_the_document_is_current() -> None:
    assert DOCUMENT.read_text() == reference(), "run `make docs`"
