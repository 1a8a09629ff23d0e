"""``from ts.torch_handler.vision_handler import VisionHandler``."""

from flambeau.serving.handlers.vision import VisionHandler

__all__ = ["VisionHandler"]
