"""``from model_archiver.manifest_components.model import Model``."""

from flambeau.serving.archive.export_steps import Model

__all__ = ["Model"]
