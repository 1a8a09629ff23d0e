"""``from ts.handler_utils.utils import import_class``."""

from flambeau.serving.handlers.discovery import import_class

__all__ = ["import_class"]
