"""``from ts.torch_handler.object_detector import ObjectDetector``."""

from flambeau.serving.handlers.defaults.object_detector import ObjectDetector

__all__ = ["ObjectDetector"]
