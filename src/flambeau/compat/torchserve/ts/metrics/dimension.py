"""``from ts.metrics.dimension import Dimension``."""

from flambeau.serving.handlers.metrics import Dimension

__all__ = ["Dimension"]
