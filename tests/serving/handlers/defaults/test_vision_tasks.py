from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from flambeau.serving.handlers.service import Outcome, Service

Load = Callable[..., Service]
Ask = Callable[..., list[Outcome]]


def picture(size: tuple[int, int] = (300, 280)) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", size, "red").save(buffer, "JPEG")
    return buffer.getvalue()


SEGMENTER = """
import torch

class Net(torch.nn.Module):
    def forward(self, x):
        logits = torch.zeros(len(x), 3, 2, 2)
        logits[:, 2] = 1.0
        return {"out": logits}
"""
DETECTOR = """
import torch

class Net(torch.nn.Module):
    def forward(self, pictures):
        return [
            {
                "boxes": torch.tensor([[0.0, 1.0, 2.0, 3.0], [4.0, 5.0, 6.0, 7.0], [0.0, 0.0, 1.0, 1.0]]),
                "labels": torch.tensor([1, 7, 1]),
                "scores": torch.tensor([0.9, 0.5, 0.4]),
            }
            for _ in pictures
        ]
"""
LINEAR = """
import torch

class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = torch.nn.Linear(4, 3)

    def forward(self, x):
        return self.fc(x.flatten(1))
"""


def test_a_segmenter_gives_class_and_probability_of_each_pixel(load: Load, ask: Ask) -> None:
    service = load({"net.py": SEGMENTER}, "image_segmenter", model={"modelFile": "net.py"})
    outcomes = ask(service, [{"data": picture()}, {"body": picture()}])
    value: Any = outcomes[1].value
    assert [len(value), len(value[0]), len(value[0][0])] == [2, 2, 2]
    assert value[1][1] == [2.0, pytest.approx(0.5761, abs=1e-4)]


def test_a_detector_names_the_likely_boxes(load: Load, ask: Ask) -> None:
    files = {"net.py": DETECTOR, "index_to_name.json": '{"1": "person", "7": "train"}'}
    service = load(files, "object_detector", model={"modelFile": "net.py"})
    outcomes = ask(service, [{"data": picture()}, {"data": picture((20, 10))}])
    boxes: Any = outcomes[1].value
    assert [list(box) for box in boxes] == [["person", "score"], ["train", "score"]]
    assert boxes[0]["person"] == [0.0, 1.0, 2.0, 3.0]
    assert boxes[0]["score"] == pytest.approx(0.9)


def test_a_saved_tensor_gets_a_saved_tensor(load: Load, ask: Ask) -> None:
    service = load({"net.py": LINEAR}, "densenet_handler", model={"modelFile": "net.py"})
    buffer = io.BytesIO()
    torch.save(torch.ones(2, 4), buffer)
    outcomes = ask(service, [{"body": buffer.getvalue()}, {"body": b"no tensor"}, {"data": buffer.getvalue()}])
    assert [outcome.status for outcome in outcomes] == [200, 400, 200]
    assert torch.is_tensor(outcomes[2].value)
    assert outcomes[2].value.shape == (2, 3)  # type: ignore[attr-defined]  # a tensor


def test_captum_says_how_much_each_pixel_counted(load: Load, ask: Ask, tmp_path: Path) -> None:
    torch.save({"fc.weight": torch.eye(3, 4), "fc.bias": torch.zeros(3)}, tmp_path / "w.pt")
    handler = """
import torch
from ts.torch_handler.image_classifier import ImageClassifier

class Small(ImageClassifier):
    def image_processing(self, picture):
        return torch.tensor(list(picture.convert("L").tobytes())).float().reshape(1, 2, 2) / 255
"""
    service = load({"net.py": LINEAR, "h.py": handler}, "h.py", model={"modelFile": "net.py", "serializedFile": "w.pt"})
    small = io.BytesIO()
    Image.new("L", (2, 2), 255).save(small, "PNG")
    rows = [{"data": small.getvalue(), "target": target} for target in (1, b"2", None, "no number")]
    outcomes = ask(service, rows, {"explain": "True"})
    # Integrated gradients of a linear model from black: the input times the class's weights.
    assert torch.tensor(outcomes[0].value).tolist() == [[[0.0, pytest.approx(1.0)], [0.0, 0.0]]]
    assert torch.tensor(outcomes[1].value).tolist() == [[[0.0, 0.0], [pytest.approx(1.0), 0.0]]]
    assert torch.tensor(outcomes[2].value).tolist() == [[[pytest.approx(1.0), 0.0], [0.0, 0.0]]]
    assert [outcome.status for outcome in outcomes] == [200, 200, 200, 400]
