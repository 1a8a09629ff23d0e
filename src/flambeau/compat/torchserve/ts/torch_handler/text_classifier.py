"""``from ts.torch_handler.text_classifier import TextClassifier``."""

from flambeau.serving.handlers.defaults.text_classifier import TextClassifier

__all__ = ["TextClassifier"]
