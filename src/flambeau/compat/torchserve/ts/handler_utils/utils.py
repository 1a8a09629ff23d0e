"""``from ts.handler_utils.utils import import_class, send_intermediate_predict_response``."""

from flambeau.serving.handlers.discovery import import_class
from flambeau.serving.handlers.streaming import send_intermediate_predict_response

__all__ = ["import_class", "send_intermediate_predict_response"]
