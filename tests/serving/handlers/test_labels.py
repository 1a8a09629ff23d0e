from __future__ import annotations

import json
from pathlib import Path

import pytest

from flambeau.serving.handlers.labels import load_label_mapping, map_class_to_label


@pytest.mark.parametrize(
    ("content", "labels"),
    [
        ({"0": "cat", "1": "dog"}, {"0": "cat", "1": "dog"}),
        ({"0": ["n1", "cat"]}, {"0": "cat"}),
        ({"object_type_names": ["cat", "dog"]}, {"0": "cat", "1": "dog"}),
    ],
)
def test_label_files(tmp_path: Path, content: object, labels: dict[str, str]) -> None:
    path = tmp_path / "index_to_name.json"
    path.write_text(json.dumps(content))
    assert load_label_mapping(path) == labels


def test_no_label_file_is_fine(tmp_path: Path) -> None:
    assert load_label_mapping(tmp_path / "index_to_name.json") is None


@pytest.mark.parametrize(("content", "message"), [(["cat"], "must hold a JSON object"), ({"0": 7}, "must give class 0 a name")])
def test_wrong_label_files_are_told(tmp_path: Path, content: object, message: str) -> None:
    path = tmp_path / "index_to_name.json"
    path.write_text(json.dumps(content))
    with pytest.raises(ValueError, match=message):
        load_label_mapping(path)


def test_probabilities_get_names() -> None:
    assert map_class_to_label([[0.9, 0.1]], {"0": "cat", "3": "dog"}, [[3, 5]]) == [{"dog": 0.9, "5": 0.1}]
    assert map_class_to_label([[0.9, 0.1]]) == [{"0": 0.9, "1": 0.1}]
