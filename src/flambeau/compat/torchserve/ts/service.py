"""``from ts.service import PredictionException, Service, emit_metrics``."""

from flambeau.serving.handlers.errors import PredictionException
from flambeau.serving.handlers.older.hosting import Service
from flambeau.serving.handlers.older.metrics_store import emit_metrics

PREDICTION_METRIC = "PredictionTime"
"""Name of the metric that the server itself measures for each batch."""

__all__ = ["PREDICTION_METRIC", "PredictionException", "Service", "emit_metrics"]
