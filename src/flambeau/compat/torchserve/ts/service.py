"""``from ts.service import PredictionException``."""

from flambeau.serving.handlers.errors import PredictionException

PREDICTION_METRIC = "PredictionTime"

__all__ = ["PREDICTION_METRIC", "PredictionException"]
