"""``from model_archiver.model_packaging import generate_model_archive``."""

from flambeau.serving.archive.model_archiver import generate_model_archive, package_model

__all__ = ["generate_model_archive", "package_model"]
