"""``torch-model-archiver``'s import surface: ``from model_archiver import ModelArchiver, ModelArchiverConfig``; re-exports only."""

from flambeau.serving.archive.manifest import ARCHIVER_VERSION as __version__
from flambeau.serving.archive.model_archiver import ModelArchiver, ModelArchiverConfig

__all__ = ["ModelArchiver", "ModelArchiverConfig", "__version__"]
