"""``from ts.torch_handler.text_handler import TextHandler``."""

from flambeau.serving.handlers.defaults.text import CONTRACTIONS_PATTERN, TextHandler

__all__ = ["CONTRACTIONS_PATTERN", "TextHandler"]
