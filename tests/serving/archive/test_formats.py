"""Which file of a folder is the model, and in which format."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from flambeau.foundation.errors import InvalidInput
from flambeau.serving.archive.formats import FORMATS, model_in
from flambeau.serving.archive.plain import is_model_folder, manifest_of_folder, manifest_of_model
from flambeau.serving.handlers.discovery import BUILT_IN

NETWORK = "from torch import nn\nclass Net(nn.Module): pass\n"
TREE, LEARNER = "tree\nversion=v4\n", '{"learner":{}}'
TRANSFORMERS = {"config.json": json.dumps({"model_type": "bert"}), "model.safetensors": "x", "vocab.txt": "a"}


def folder(root: Path, files: dict[str, str]) -> Path:
    directory = root / "a model"
    directory.mkdir()
    for name, text in files.items():
        (directory / name).write_text(text)
    return directory


@pytest.mark.parametrize(
    ("files", "model_format", "file"),
    [
        ({"model.joblib": "", "README.md": "", "notes.txt": "not a tree", "data.json": "{}"}, "sklearn", "model.joblib"),
        ({"iris.pkl": ""}, "sklearn", "iris.pkl"),
        ({"model.bst": TREE}, "lightgbm", "model.bst"),
        ({"model.txt": TREE}, "lightgbm", "model.txt"),
        ({"model.bst": "binf"}, "xgboost", "model.bst"),
        ({"model.json": LEARNER}, "xgboost", "model.json"),
        ({"model.ubj": ""}, "xgboost", "model.ubj"),
        ({"net.onnx": ""}, "onnx", "net.onnx"),
        ({"model.pt": "", "other.pt": ""}, "torch", "model.pt"),
        ({"model.pt2": ""}, "torch", "model.pt2"),
        (TRANSFORMERS, "huggingface", None),
    ],
)
def test_files_say_which_format_they_are(tmp_path: Path, files: dict[str, str], model_format: str, file: str | None) -> None:
    directory = folder(tmp_path, files)
    found = model_in(directory)
    assert (found.format, found.file) == (model_format, file)
    assert is_model_folder(directory)
    manifest = manifest_of_folder(directory)
    assert (manifest.model_name, manifest.handler, manifest.serialized_file) == ("a_model", FORMATS[model_format].handler, file)


@pytest.mark.parametrize(
    ("files", "wanted", "words"),
    [
        ({"a.joblib": "", "b.pkl": ""}, "sklearn", "more than one file could be it: a.joblib, b.pkl"),
        ({"a.joblib": "", "b.onnx": ""}, None, "more than one file could be it: a.joblib, b.onnx"),
        ({"a.pt": "", "b.pt": ""}, "torch", "more than one file could be it: a.pt, b.pt"),
        ({"a.onnx": ""}, "sklearn", "none of its files ends with .joblib, .pkl, .pickle"),
        ({"a.onnx": ""}, "huggingface", "no config.json with weights beside it"),
        ({"config.json": "{}", "x": ""}, None, "none of its files ends with .joblib"),
    ],
)
def test_what_cannot_be_told_names_the_files(tmp_path: Path, files: dict[str, str], wanted: str | None, words: str) -> None:
    with pytest.raises(InvalidInput, match=words):
        model_in(folder(tmp_path, files), wanted)


def test_a_named_format_looks_at_its_own_files_only(tmp_path: Path) -> None:
    assert model_in(folder(tmp_path, {"a.onnx": "", "b.joblib": ""}), "onnx").file == "a.onnx"


def test_a_state_dict_gets_its_class(tmp_path: Path) -> None:
    directory = folder(tmp_path, {"model.pt": "", "net.py": NETWORK})
    assert manifest_of_model(directory, None).model_file == "net.py"
    assert (manifest_of_folder(directory).handler, manifest_of_folder(directory).model_file) == ("torch_model", "net.py")


def test_options_reach_the_handler_in_the_manifest(tmp_path: Path) -> None:
    manifest = manifest_of_model(folder(tmp_path, {"model.bst": "binf"}), "xgboost", {"nthread": 2})
    assert manifest.document["model"] == {
        "modelName": "a_model",
        "handler": "xgboost_model",
        "serializedFile": "model.bst",
        "modelVersion": "1.0",
        "options": {"nthread": 2},
    }


def test_a_model_store_is_no_model(tmp_path: Path) -> None:
    assert not is_model_folder(folder(tmp_path, {"a.mar": "", "model.onnx": ""}))


def test_every_format_has_a_handler() -> None:
    assert {form.handler for form in FORMATS.values()} <= BUILT_IN.keys()
