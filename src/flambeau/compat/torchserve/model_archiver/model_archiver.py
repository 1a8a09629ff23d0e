"""``from model_archiver.model_archiver import ModelArchiver``."""

from flambeau.serving.archive.model_archiver import ModelArchiver

__all__ = ["ModelArchiver"]
