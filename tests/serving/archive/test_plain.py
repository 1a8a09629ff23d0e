"""What a folder that nobody packed is taken for."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping
from pathlib import Path

import pytest

from flambeau.foundation.errors import InvalidInput
from flambeau.serving.archive.plain import is_model_folder, manifest_of_folder, summary_of

FUNCTION = "def handle(data, context):\n    return data\n"
CLASS = "class Mine:\n    def handle(self, data, context):\n        return data\n"
DERIVED = "from ts.torch_handler.image_classifier import ImageClassifier\nclass Mine(ImageClassifier): pass\n"
NETWORK = "from torch import nn\nclass Net(nn.Module): pass\n"


def folder(root: Path, files: Mapping[str, str]) -> Path:
    directory = root / "my model"
    for name, text in files.items():
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).write_text(text)
    return directory


@pytest.mark.parametrize(
    ("files", "handler", "weights", "model_file"),
    [
        ({"handler.py": "", "other_handler.py": ""}, "handler.py", None, None),
        ({"mnist_handler.py": "", "mnist.py": NETWORK, "mnist.pt": "x"}, "mnist_handler.py", "mnist.pt", "mnist.py"),
        ({"main.py": FUNCTION, "tools.py": ""}, "main.py", None, None),
        ({"main.py": CLASS, "model.py": "", "weights.pth": "x"}, "main.py", "weights.pth", "model.py"),
        ({"main.py": DERIVED, "broken.py": "def ("}, "main.py", None, None),
        ({"handler.py": "", "a.pt": "x", "model.pt": "x"}, "handler.py", "model.pt", None),
        ({"handler.py": "", "a.pt": "x", "b.pt": "x"}, "handler.py", None, None),
        ({"handler.py": "", "net.py": NETWORK, "net.onnx": "x"}, "handler.py", "net.onnx", None),
    ],
)
def test_files_say_what_they_are(tmp_path: Path, files: dict[str, str], handler: str, weights: str | None, model_file: str | None) -> None:
    directory = folder(tmp_path, files)
    found = manifest_of_folder(directory)
    assert is_model_folder(directory)
    assert (found.model_name, found.model_version) == ("my_model", "1.0")
    assert (found.handler, found.serialized_file, found.model_file) == (handler, weights, model_file)
    assert found.document["model"]["handler"] == handler


def test_torchscript_brings_its_own_class(tmp_path: Path) -> None:
    directory = folder(tmp_path, {"handler.py": "", "model.py": NETWORK})
    with zipfile.ZipFile(directory / "model.pt", "w") as packed:
        packed.writestr("model/code/__torch__.py", "")
    assert manifest_of_folder(directory).model_file is None


def test_a_manifest_has_the_first_word(tmp_path: Path) -> None:
    manifest = {"runtime": "python", "extra": 1, "model": {"modelName": "m", "handler": "image_classifier", "modelVersion": "2"}}
    directory = folder(tmp_path, {"MAR-INF/MANIFEST.json": json.dumps(manifest), "handler.py": "", "a.pt": "", "model-config.yaml": ""})
    found = manifest_of_folder(directory)
    assert (found.document["extra"], found.document["model"]["serializedFile"]) == (1, "a.pt")
    assert summary_of(found) == 'model "m" 2: handler image_classifier, weights a.pt, settings model-config.yaml'


@pytest.mark.parametrize(
    ("files", "why"),
    [
        ({"a.py": "", "b.txt": ""}, "none of a.py looks like one"),
        ({"a.py": FUNCTION, "b.py": CLASS}, "a.py and b.py both look like one"),
        ({"b.txt": ""}, "none of its files looks like one"),
    ],
)
def test_what_cannot_be_told_is_asked_for(tmp_path: Path, files: dict[str, str], why: str) -> None:
    with pytest.raises(InvalidInput, match=why) as caught:
        manifest_of_folder(folder(tmp_path, files))
    assert "handler.py" in str(caught.value.hint)
