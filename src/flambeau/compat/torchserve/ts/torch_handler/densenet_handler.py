"""``from ts.torch_handler.densenet_handler import DenseNetHandler``."""

from flambeau.serving.handlers.densenet import DenseNetHandler

__all__ = ["DenseNetHandler"]
