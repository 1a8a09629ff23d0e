"""``from ts.torch_handler.vision_handler import VisionHandler``."""

from flambeau.serving.handlers.defaults.vision import VisionHandler

__all__ = ["VisionHandler"]
