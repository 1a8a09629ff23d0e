"""``from ts.torch_handler.dali_image_classifier import DALIImageClassifier``."""

from flambeau.serving.handlers.defaults.elsewhere import DALIImageClassifier

__all__ = ["DALIImageClassifier"]
