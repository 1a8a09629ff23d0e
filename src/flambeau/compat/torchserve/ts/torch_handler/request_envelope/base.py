"""``from ts.torch_handler.request_envelope.base import BaseEnvelope``."""

from flambeau.serving.handlers.older.envelopes import BaseEnvelope

__all__ = ["BaseEnvelope"]
