from __future__ import annotations

import json

import pytest

from flambeau.foundation.errors import InvalidInput
from flambeau.serving.archive.manifest import Manifest, parse_manifest


def parsed(document: object) -> Manifest:
    return parse_manifest(json.dumps(document).encode(), "m.mar")


def test_a_whole_manifest() -> None:
    document = {
        "createdOn": "01/02/2026 03:04:05",
        "runtime": "python3",
        "description": "outer",
        "model": {
            "modelName": "m",
            "modelVersion": "2.1",
            "handler": "h.py:entry",
            "serializedFile": "w.pt",
            "modelFile": "net.py",
            "requirementsFile": "requirements.txt",
            "configFile": "model-config.yaml",
            "sourceVocab": "vocab.pt",
        },
        "archiverVersion": "0.12.0",
    }
    manifest = parsed(document)
    assert manifest == Manifest(
        model_name="m",
        model_version="2.1",
        handler="h.py:entry",
        serialized_file="w.pt",
        model_file="net.py",
        requirements_file="requirements.txt",
        config_file="model-config.yaml",
        runtime="python3",
        created_on="01/02/2026 03:04:05",
        archiver_version="0.12.0",
        description="outer",
    )
    assert manifest.document == document


def test_an_empty_manifest_has_the_defaults() -> None:
    assert parsed({}) == Manifest(runtime="python", model_version="1.0")


@pytest.mark.parametrize(("version", "expected"), [("1.0", "1.0"), (1.5, "1.5"), (2, "2")])
def test_versions_are_text(version: object, expected: str) -> None:
    assert parsed({"model": {"modelVersion": version}}).model_version == expected


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ([], "must hold an object"),
        ({"model": "m"}, "model must be an object"),
        ({"model": {"modelName": 3}}, r"model\.modelName must be a string, not 3"),
        ({"model": {"modelVersion": True}}, r"model\.modelVersion must be a string"),
        ({"model": {"handler": ["h.py"]}}, r"model\.handler must be a string"),
        ({"model": {"serializedFile": "../w.pt"}}, "serializedFile must name a file inside the archive"),
        ({"model": {"handler": "/etc/x.py:f"}}, "handler must name a file inside the archive"),
        ({"runtime": "java"}, "runtime 'java' is not one of python, python3, LSP"),
    ],
)
def test_what_is_wrong_is_named(document: object, message: str) -> None:
    with pytest.raises(InvalidInput, match=message) as caught:
        parsed(document)
    assert "m.mar" in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"[" * 100_000])
def test_what_is_no_json_is_told(content: bytes) -> None:
    with pytest.raises(InvalidInput, match="is not JSON"):
        parse_manifest(content, "m.mar")
