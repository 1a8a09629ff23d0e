"""``from ts.model_service.model_service import ModelService, SingleNodeService``."""

from flambeau.serving.handlers.older.model_service import ModelService, SingleNodeService

__all__ = ["ModelService", "SingleNodeService"]
