"""``model_archiver``'s Python interface over our packer: what build scripts import instead of calling the command.

Re-exported by ``compat``; nothing else in flambeau calls it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from flambeau.foundation.errors import Conflict, InvalidInput, NotFound
from flambeau.serving.archive.pack import ArchiveFormat, ArchiveRequest, Runtime, pack


class ModelArchiverError(Exception):
    """Say why no archive was made."""


@dataclass
class ModelArchiverConfig:
    """Name a model's files, as ``torch-model-archiver``'s flags do."""

    model_name: str
    handler: str
    version: str
    serialized_file: str | None = None
    model_file: str | None = None
    extra_files: str | None = None
    """Files, folders and patterns with commas between them."""
    runtime: Runtime = "python"
    export_path: str = field(default_factory=lambda: str(Path.cwd()))
    archive_format: ArchiveFormat = "default"
    force: bool = False
    requirements_file: str | None = None
    config_file: str | None = None


def generate_model_archive(config: ModelArchiverConfig) -> None:
    """Write a model archive.

    Raises:
        ModelArchiverError: the name is not allowed, the export path is no folder, or the archive exists and ``force`` is off.
        FileNotFoundError: a file that was named isn't there.
    """
    if not Path(config.export_path).is_dir():
        raise ModelArchiverError(f"Given export-path {config.export_path} is not a directory. Point to a valid export-path directory.")
    try:
        pack(_request_of(config))
    except (InvalidInput, Conflict) as error:
        raise ModelArchiverError(str(error)) from error
    except NotFound as error:
        raise FileNotFoundError(error.message) from error


class ModelArchiver:
    """Hold the same function, as the original does."""

    generate_model_archive = staticmethod(generate_model_archive)


def _request_of(config: ModelArchiverConfig) -> ArchiveRequest:
    def path(text: str | None) -> Path | None:
        return None if text is None else Path(text)

    return ArchiveRequest(
        model_name=config.model_name,
        version=config.version,
        handler=config.handler,
        serialized_file=path(config.serialized_file),
        model_file=path(config.model_file),
        extra_files=tuple(item.strip() for item in (config.extra_files or "").split(",") if item.strip()),
        requirements_file=path(config.requirements_file),
        config_file=path(config.config_file),
        runtime=config.runtime,
        archive_format=config.archive_format,
        export_path=Path(config.export_path),
        force=config.force,
    )
