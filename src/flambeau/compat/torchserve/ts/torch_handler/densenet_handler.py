"""``from ts.torch_handler.densenet_handler import DenseNetHandler``."""

from flambeau.serving.handlers.defaults.densenet import DenseNetHandler

__all__ = ["DenseNetHandler"]
