"""``from ts.version import __version__``."""

from flambeau.serving.handlers.context import SERVER_VERSION as __version__

__all__ = ["__version__"]
