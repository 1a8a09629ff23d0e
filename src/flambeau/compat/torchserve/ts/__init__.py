"""TorchServe's import surface for handlers: re-exports only, so that a class is the same whichever way it is imported.

A worker puts this package's parent folder on ``sys.path``; inside flambeau nothing imports it.
"""

from flambeau.serving.handlers.context import SERVER_VERSION as __version__

__all__ = ["__version__"]
