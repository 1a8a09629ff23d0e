"""``from ts.torch_handler.base_handler import BaseHandler``."""

from flambeau.serving.handlers.base import BaseHandler

__all__ = ["BaseHandler"]
