"""Pictures in, boxes with their classes out."""

from __future__ import annotations

from typing import Any

from flambeau.serving.handlers.defaults.image_transform import TensorTransform
from flambeau.serving.handlers.defaults.vision import VisionHandler
from flambeau.serving.handlers.labels import map_class_to_label
from flambeau.serving.handlers.timing import timed


class ObjectDetector(VisionHandler):
    """Detect objects with a model whose output is a dict of ``boxes``, ``labels`` and ``scores`` a picture, as torchvision's are."""

    threshold = 0.5
    """Less likely boxes are left out."""
    image_processing = TensorTransform()

    @timed
    def postprocess(self, data: Any) -> list[Any]:
        """Return the likely boxes of each picture: ``{label: [x1, y1, x2, y2], "score": ...}``."""
        # A scripted detector of torchvision returns its losses too.
        detections = data[1] if isinstance(data, tuple) else data
        return [self._boxes_of(detection) for detection in detections]

    def _boxes_of(self, detection: Any) -> list[dict[str, Any]]:
        likely = detection["scores"] >= self.threshold
        boxes, labels, scores = (detection[name][likely].tolist() for name in ("boxes", "labels", "scores"))
        named: list[dict[str, Any]] = map_class_to_label([[box] for box in boxes], self.mapping, [[label] for label in labels])
        for box, score in zip(named, scores, strict=True):
            box["score"] = score
        return named
