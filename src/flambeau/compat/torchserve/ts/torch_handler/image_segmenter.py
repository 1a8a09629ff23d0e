"""``from ts.torch_handler.image_segmenter import ImageSegmenter``."""

from flambeau.serving.handlers.image_segmenter import ImageSegmenter

__all__ = ["ImageSegmenter"]
