"""``from ts.handler_utils.timer import timed``."""

from flambeau.serving.handlers.timing import timed

__all__ = ["timed"]
