"""``from ts.torch_handler.request_envelope.kserve import KServeEnvelope``."""

from flambeau.serving.handlers.older.envelopes import KServeEnvelope

__all__ = ["KServeEnvelope"]
