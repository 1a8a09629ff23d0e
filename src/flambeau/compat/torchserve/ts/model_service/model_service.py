"""``from ts.model_service.model_service import ModelService, SingleNodeService``."""

from flambeau.serving.handlers.model_service import ModelService, SingleNodeService

__all__ = ["ModelService", "SingleNodeService"]
