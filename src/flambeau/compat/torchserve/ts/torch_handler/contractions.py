"""``from ts.torch_handler.contractions import CONTRACTION_MAP``."""

from flambeau.serving.handlers.defaults.contractions import CONTRACTION_MAP

__all__ = ["CONTRACTION_MAP"]
