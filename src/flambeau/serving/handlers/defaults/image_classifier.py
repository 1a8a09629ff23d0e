"""Pictures in, the likeliest classes out."""

from __future__ import annotations

from typing import Any

import torch

from flambeau.serving.handlers.defaults.image_transform import ImageNetTransform
from flambeau.serving.handlers.defaults.vision import VisionHandler
from flambeau.serving.handlers.labels import map_class_to_label
from flambeau.serving.handlers.timing import timed


class ImageClassifier(VisionHandler):
    """Classify pictures: one ``{label: probability}`` of the likeliest classes a row."""

    topk = 5
    image_processing = ImageNetTransform()

    def set_max_result_classes(self, topk: int) -> None:
        """Set how many classes an answer names."""
        self.topk = topk

    def get_max_result_classes(self) -> int:
        """Return how many classes an answer names."""
        return self.topk

    @timed
    def postprocess(self, data: Any) -> list[Any]:
        """Return the likeliest classes by name.

        Shapes:
            data: logits, ``(batch, classes)``.
        """
        probabilities = torch.nn.functional.softmax(data, dim=1)
        likeliest, classes = torch.topk(probabilities, min(self.topk, probabilities.shape[1]), dim=1)
        return map_class_to_label(likeliest.tolist(), self.mapping, classes.tolist())
