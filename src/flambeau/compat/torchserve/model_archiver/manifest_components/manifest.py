"""``from model_archiver.manifest_components.manifest import RuntimeType``."""

from flambeau.serving.archive.export_steps import Manifest, RuntimeType

__all__ = ["Manifest", "RuntimeType"]
