"""``from ts.metrics.unit import Units``."""

from flambeau.serving.handlers.older.metrics_store import Units

__all__ = ["Units"]
