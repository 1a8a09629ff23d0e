"""``from ts.torch_handler.object_detector import ObjectDetector``."""

from flambeau.serving.handlers.object_detector import ObjectDetector

__all__ = ["ObjectDetector"]
