"""docs/inference-service.md says what the API takes: every field, with a meaning."""

from __future__ import annotations

from tools.inference_service_reference import DOCUMENT, NOTES, meaning, reference, sections


def test_every_field_has_a_meaning() -> None:
    fields = [(section, path, schema) for section in sections() for path, schema, _ in section.rows()]
    silent = [f"{section.key}.{path}" for section, path, schema in fields if not meaning(section, path, schema)]
    assert silent == [], "explain it in control/resources/fields, or say in NOTES what it is here"


def test_every_note_is_about_a_field() -> None:
    assert NOTES.keys() <= {f"{section.key}.{path}" for section in sections() for path, _, _ in section.rows()}


def test_the_document_is_current() -> None:
    assert DOCUMENT.read_text() == reference(), "run `make docs`"
