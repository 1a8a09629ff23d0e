"""``from model_archiver.model_archiver_config import ModelArchiverConfig``."""

from flambeau.serving.archive.model_archiver import ModelArchiverConfig

__all__ = ["ModelArchiverConfig"]
