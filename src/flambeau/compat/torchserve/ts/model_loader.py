"""``from ts.model_loader import ModelLoaderFactory``."""

from flambeau.serving.handlers.older.hosting import ModelLoader, ModelLoaderFactory, TsModelLoader

__all__ = ["ModelLoader", "ModelLoaderFactory", "TsModelLoader"]
