"""``from ts.model_loader import ModelLoaderFactory``."""

from flambeau.serving.handlers.older.hosting import ModelLoaderFactory, TsModelLoader

__all__ = ["ModelLoaderFactory", "TsModelLoader"]
