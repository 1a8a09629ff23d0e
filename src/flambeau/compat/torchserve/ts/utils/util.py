"""``from ts.utils.util import PredictionException, map_class_to_label``."""

from flambeau.serving.handlers.compilation import PT2Backend, check_valid_pt2_backend
from flambeau.serving.handlers.defaults.tokens import CLEANUP_REGEX
from flambeau.serving.handlers.discovery import list_classes_from_module
from flambeau.serving.handlers.errors import PredictionException
from flambeau.serving.handlers.labels import load_label_mapping, map_class_to_label
from flambeau.serving.handlers.older.deprecation import deprecated
from flambeau.serving.handlers.older.yaml_config import get_yaml_config

__all__ = [
    "CLEANUP_REGEX",
    "PT2Backend",
    "PredictionException",
    "check_valid_pt2_backend",
    "deprecated",
    "get_yaml_config",
    "list_classes_from_module",
    "load_label_mapping",
    "map_class_to_label",
]
