"""Which files of a model are wanted."""

from __future__ import annotations

import pytest

from flambeau.foundation.errors import InvalidInput, NotFound
from flambeau.storage.model import RemoteFile
from flambeau.storage.patterns import patterns_of

NAMES = ("config.json", "model.bin", "model.safetensors", "onnx/model.onnx", "onnx/tiny/model.onnx")


def chosen(**said: str) -> list[str]:
    files = [RemoteFile(name=name, key=name, size=1, etag=None, identity=name) for name in NAMES]
    environment = {f"STORAGE_{name.upper()}_PATTERNS": text for name, text in said.items()}
    return [file.name for file in patterns_of(environment).chosen(files, "hf://a/b")]


@pytest.mark.parametrize(
    ("said", "names"),
    [
        ({}, [*NAMES]),
        ({"allow": "*.json, *.safetensors"}, ["config.json", "model.safetensors"]),
        ({"allow": '["*.json", "onnx/"]'}, ["config.json", "onnx/model.onnx", "onnx/tiny/model.onnx"]),
        ({"ignore": "*.bin,onnx/*"}, ["config.json", "model.safetensors"]),
        ({"allow": "*model*", "ignore": '["onnx/tiny/"]'}, ["model.bin", "model.safetensors", "onnx/model.onnx"]),
    ],
)
def test_globs_choose_files(said: dict[str, str], names: list[str]) -> None:
    assert chosen(**said) == names


def test_nothing_left_is_told() -> None:
    with pytest.raises(NotFound, match=r"none of the 5 files of hf://a/b is wanted by STORAGE_ALLOW_PATTERNS \['\*\.gguf'\]") as caught:
        chosen(allow="*.gguf")
    assert caught.value.reason == "NoObjects"


@pytest.mark.parametrize("text", ["[", "[1]"])
def test_what_is_no_list_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput, match="STORAGE_IGNORE_PATTERNS"):
        chosen(ignore=text)
