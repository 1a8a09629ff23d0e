"""``from ts.torch_handler.image_classifier import ImageClassifier``."""

from flambeau.serving.handlers.defaults.image_classifier import ImageClassifier

__all__ = ["ImageClassifier"]
