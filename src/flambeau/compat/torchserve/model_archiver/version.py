"""``from model_archiver.version import __version__``."""

from flambeau.serving.archive.manifest import ARCHIVER_VERSION as __version__

__all__ = ["__version__"]
