"""``from ts.torch_handler.request_envelope.kservev2 import KServev2Envelope``."""

from flambeau.serving.handlers.older.envelopes import KServev2Envelope

__all__ = ["KServev2Envelope"]
