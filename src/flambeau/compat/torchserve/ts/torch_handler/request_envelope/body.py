"""``from ts.torch_handler.request_envelope.body import BodyEnvelope``."""

from flambeau.serving.handlers.older.envelopes import BodyEnvelope

__all__ = ["BodyEnvelope"]
