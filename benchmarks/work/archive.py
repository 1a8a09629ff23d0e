"""Load an archive's handler in this process."""

from __future__ import annotations

from pathlib import Path

from flambeau.programs.settings.models import config_merger
from flambeau.serving.archive.unpack import unpack
from flambeau.serving.handlers.service import Service, load_service
from flambeau.serving.model import ModelConfig
from flambeau.serving.repository import Registration, spec_of


def load_archive(archive: Path, unpacked_below: Path) -> Service:
    """Return what runs batches of an archive's model, with the default configuration."""
    registration = Registration(archive, archive.name, config_merger(ModelConfig(), {}, None))
    return load_service(spec_of(registration, unpack(archive, unpacked_below), None))
