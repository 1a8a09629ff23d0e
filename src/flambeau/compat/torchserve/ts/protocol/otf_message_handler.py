"""``from ts.protocol.otf_message_handler import send_intermediate_predict_response``, and its worker's message formats."""

from flambeau.serving.handlers.older.hosting import create_load_model_response, create_predict_response, encode_response_headers
from flambeau.serving.handlers.streaming import send_intermediate_predict_response

__all__ = ["create_load_model_response", "create_predict_response", "encode_response_headers", "send_intermediate_predict_response"]
