"""``from ts.utils.hf_utils import download_model``."""

from flambeau.serving.handlers.older.hub import download_model

__all__ = ["download_model"]
