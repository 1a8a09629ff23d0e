"""``from ts.protocol.otf_message_handler import send_intermediate_predict_response``: an old name."""

from flambeau.serving.handlers.streaming import send_intermediate_predict_response

__all__ = ["send_intermediate_predict_response"]
