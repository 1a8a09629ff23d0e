"""``from ts.torch_handler.text_handler import TextHandler``."""

from flambeau.serving.handlers.defaults.text import TextHandler

__all__ = ["TextHandler"]
