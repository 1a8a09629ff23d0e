"""``from ts.handler_utils.preprocess.dali import get_dali_pipeline``."""

from flambeau.serving.handlers.defaults.elsewhere import get_dali_pipeline

__all__ = ["get_dali_pipeline"]
