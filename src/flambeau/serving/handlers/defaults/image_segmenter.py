"""Pictures in, a class and its probability for each pixel out."""

from __future__ import annotations

from typing import Any

import torch

from flambeau.serving.handlers.defaults.image_transform import ImageNetTransform
from flambeau.serving.handlers.defaults.vision import VisionHandler
from flambeau.serving.handlers.timing import timed


class ImageSegmenter(VisionHandler):
    """Segment pictures with a model whose output is ``{"out": logits}``, as torchvision's are."""

    image_processing = ImageNetTransform()

    @timed
    def postprocess(self, data: Any) -> list[Any]:
        """Return ``[class, probability]`` for each pixel of each picture.

        Shapes:
            data["out"]: logits, ``(batch, classes, height, width)``; the answer ``(batch, height, width, 2)``.
        """
        probabilities, classes = torch.nn.functional.softmax(data["out"], dim=1).max(dim=1)
        answers: list[Any] = torch.stack([classes.type(probabilities.dtype), probabilities], dim=3).tolist()
        return answers
