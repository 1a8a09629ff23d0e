"""Pictures in, the likeliest classes out."""

from __future__ import annotations

from typing import Any

import torch

from flambeau.serving.handlers.labels import map_class_to_label
from flambeau.serving.handlers.vision import VisionHandler


class _ImageNetProcessing:
    """Build ImageNet's usual transform when it is first asked for.

    A handler that brings its own, as most do, then never pays for the import of torchvision.
    """

    def __init__(self) -> None:
        self._built: Any = None

    def __get__(self, instance: object, owner: type) -> Any:
        if self._built is None:
            from torchvision import transforms  # noqa: PLC0415 - a second of import, see above

            self._built = transforms.Compose(
                [
                    transforms.Resize(256),
                    transforms.CenterCrop(224),
                    transforms.ToTensor(),
                    transforms.Normalize(mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225]),
                ]
            )
        return self._built


class ImageClassifier(VisionHandler):
    """Classify pictures: one ``{label: probability}`` of the likeliest classes a row."""

    topk = 5
    image_processing = _ImageNetProcessing()

    def set_max_result_classes(self, topk: int) -> None:
        """Set how many classes an answer names."""
        self.topk = topk

    def get_max_result_classes(self) -> int:
        """Return how many classes an answer names."""
        return self.topk

    def postprocess(self, data: Any) -> list[Any]:
        """Return the likeliest classes by name.

        Shapes:
            data: logits, ``(batch, classes)``.
        """
        probabilities = torch.nn.functional.softmax(data, dim=1)
        likeliest, classes = torch.topk(probabilities, min(self.topk, probabilities.shape[1]), dim=1)
        return map_class_to_label(likeliest.tolist(), self.mapping, classes.tolist())
