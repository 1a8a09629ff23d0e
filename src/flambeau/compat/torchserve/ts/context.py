"""``from ts.context import Context, RequestProcessor``."""

from flambeau.serving.handlers.context import Context, RequestProcessor

__all__ = ["Context", "RequestProcessor"]
