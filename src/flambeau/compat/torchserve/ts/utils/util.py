"""``from ts.utils.util import PredictionException, map_class_to_label``."""

from flambeau.serving.handlers.discovery import list_classes_from_module
from flambeau.serving.handlers.errors import PredictionException
from flambeau.serving.handlers.labels import load_label_mapping, map_class_to_label

__all__ = ["PredictionException", "list_classes_from_module", "load_label_mapping", "map_class_to_label"]
