"""``model_archiver``'s Python interface over our packer: what build scripts import instead of calling the command.

Re-exported by ``compat``; ``torch-model-archiver`` parses its command line with it.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path

from flambeau.foundation.errors import Conflict, InvalidInput, NotFound
from flambeau.serving.archive.manifest import RUNTIMES
from flambeau.serving.archive.pack import ArchiveFormat, ArchiveRequest, Runtime, pack


class ModelArchiverError(Exception):
    """Say why no archive was made."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


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

    @classmethod
    def from_args(cls, args: argparse.Namespace | ModelArchiverConfig) -> ModelArchiverConfig:
        """Take what the command line's parser found; every field must be there."""
        return cls(**{each.name: getattr(args, each.name) for each in fields(cls)})

    def request(self) -> ArchiveRequest:
        """Return what our packer wants to know."""

        def path(text: str | None) -> Path | None:
            return None if text is None else Path(text)

        return ArchiveRequest(
            model_name=self.model_name,
            version=self.version,
            handler=self.handler,
            serialized_file=path(self.serialized_file),
            model_file=path(self.model_file),
            extra_files=tuple(item.strip() for item in (self.extra_files or "").split(",") if item.strip()),
            requirements_file=path(self.requirements_file),
            config_file=path(self.config_file),
            runtime=self.runtime,
            archive_format=self.archive_format,
            export_path=Path(self.export_path),
            force=self.force,
        )


def parser() -> argparse.ArgumentParser:
    """Return the parser of ``torch-model-archiver``'s flags; each one's help shows how it is written."""
    # argparse, not the library of our own commands: scripts rely on its abbreviations (`--model-n`).
    made = argparse.ArgumentParser(
        prog="torch-model-archiver",
        description="Package a PyTorch model and its handler as a model archive.",
        epilog="Example: torch-model-archiver --model-name mnist --version 1.0 --model-file mnist.py --serialized-file mnist_cnn.pt "
        "--handler mnist_handler.py --export-path model-store",
    )
    required = made.add_argument_group("required arguments")
    required.add_argument("--model-name", required=True, help="name of the model, and of the archive's file, such as --model-name mnist")
    required.add_argument("-v", "--version", required=True, help="the model's version, any text, such as --version 1.0")
    required.add_argument(
        "--handler",
        required=True,
        help="a built-in handler's name or a Python file, perhaps with :function, such as --handler mine.py:entry",
    )
    made.add_argument(
        "--serialized-file", help="the weights, a state dict (.pt, .pth), TorchScript (.pt) or ONNX, such as --serialized-file resnet18.pth"
    )
    made.add_argument(
        "--model-file", help="the Python file whose one class builds the model; not for TorchScript, such as --model-file model.py"
    )
    made.add_argument(
        "--extra-files",
        help="comma-separated files, folders and patterns that the handler needs, such as --extra-files index_to_name.json,vocab/",
    )
    made.add_argument(
        "--runtime", choices=RUNTIMES, default="python", help="what runs the handler, python if not said, such as --runtime python3"
    )
    made.add_argument("--export-path", default=".", help="folder to write to, else the current one, such as --export-path model-store")
    made.add_argument(
        "--archive-format",
        choices=("tgz", "no-archive", "zip-store", "default"),
        default="default",
        help="a .tar.gz, a folder, a .mar without compression, or a .mar (default), such as --archive-format no-archive",
    )
    made.add_argument("-f", "--force", action="store_true", help="overwrite an archive of that name, such as --force")
    made.add_argument("-r", "--requirements-file", help="the handler's Python packages, such as --requirements-file requirements.txt")
    made.add_argument("-c", "--config-file", help="the model's settings, such as --config-file model-config.yaml")
    return made


def parse_arguments(arguments: Sequence[str] | None = None) -> ModelArchiverConfig:
    """Read ``torch-model-archiver``'s command line; argparse ends the process with status 2 where it is wrong.

    Args:
        arguments: its words; None: this process's own.
    """
    return ModelArchiverConfig.from_args(parser().parse_args(arguments))


def generate_model_archive(config: ModelArchiverConfig | None = None) -> None:
    """Write a model archive.

    Args:
        config: what to write; None: as this process's command line says.

    Raises:
        ModelArchiverError: the name is not allowed, the export path is no folder, or the archive exists and ``force`` is off.
        FileNotFoundError: a file that was named isn't there.
    """
    logging.basicConfig(format="%(levelname)s - %(message)s")
    package_model(parse_arguments() if config is None else config)


def package_model(config: ModelArchiverConfig | argparse.Namespace, manifest: str | None = None) -> None:
    """Write a model archive with a given manifest.

    Args:
        config: what to write.
        manifest: MANIFEST.json's text; None: made from ``config``.

    Raises:
        ModelArchiverError: the name is not allowed, the export path is no folder, or the archive exists and ``force`` is off.
        FileNotFoundError: a file that was named isn't there.
    """
    if not Path(config.export_path).is_dir():
        raise ModelArchiverError(f"Given export-path {config.export_path} is not a directory. Point to a valid export-path directory.")
    try:
        pack(ModelArchiverConfig.from_args(config).request(), manifest)
    except (InvalidInput, Conflict) as error:
        raise ModelArchiverError(str(error)) from error
    except NotFound as error:
        raise FileNotFoundError(error.message) from error


class ModelArchiver:
    """Hold the same function, as the original does."""

    generate_model_archive = staticmethod(generate_model_archive)
