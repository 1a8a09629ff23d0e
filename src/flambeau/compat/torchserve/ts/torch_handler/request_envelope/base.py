"""``from ts.torch_handler.request_envelope.base import BaseEnvelope``."""

from flambeau.serving.handlers.envelopes import BaseEnvelope

__all__ = ["BaseEnvelope"]
