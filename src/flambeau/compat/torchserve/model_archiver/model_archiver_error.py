"""``from model_archiver.model_archiver_error import ModelArchiverError``."""

from flambeau.serving.archive.model_archiver import ModelArchiverError

__all__ = ["ModelArchiverError"]
