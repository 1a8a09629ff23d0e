"""``from model_archiver.model_packaging_utils import ModelExportUtils``."""

from flambeau.serving.archive.export_steps import ModelExportUtils
from flambeau.serving.archive.pack import ENDINGS as archiving_options

__all__ = ["ModelExportUtils", "archiving_options"]
