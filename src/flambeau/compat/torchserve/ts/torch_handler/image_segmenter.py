"""``from ts.torch_handler.image_segmenter import ImageSegmenter``."""

from flambeau.serving.handlers.defaults.image_segmenter import ImageSegmenter

__all__ = ["ImageSegmenter"]
