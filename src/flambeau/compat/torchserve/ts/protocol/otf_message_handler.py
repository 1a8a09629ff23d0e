"""``from ts.protocol.otf_message_handler import send_intermediate_predict_response``, and its worker's message formats."""

from flambeau.serving.handlers.older.hosting import create_load_model_response, create_predict_response, encode_response_headers
from flambeau.serving.handlers.older.message_reader import END_OF_LIST, LOAD_MSG, PREDICT_MSG, retrieve_msg
from flambeau.serving.handlers.streaming import send_intermediate_predict_response

__all__ = [
    "END_OF_LIST",
    "LOAD_MSG",
    "PREDICT_MSG",
    "create_load_model_response",
    "create_predict_response",
    "encode_response_headers",
    "retrieve_msg",
    "send_intermediate_predict_response",
]
