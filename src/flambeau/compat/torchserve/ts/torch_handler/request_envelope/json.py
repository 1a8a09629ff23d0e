"""``from ts.torch_handler.request_envelope.json import JSONEnvelope``."""

from flambeau.serving.handlers.older.envelopes import JSONEnvelope

__all__ = ["JSONEnvelope"]
