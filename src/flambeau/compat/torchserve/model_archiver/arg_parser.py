"""``from model_archiver.arg_parser import ArgParser``."""

from flambeau.serving.archive.export_steps import ArgParser

__all__ = ["ArgParser"]
