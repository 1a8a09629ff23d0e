"""``torch-model-archiver``: the original's flags, abbreviations and exit statuses.

0 on success, 2 for a command line that argparse refuses, 1 for everything else, with one sentence instead of a traceback.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from flambeau.foundation.errors import FlambeauError
from flambeau.serving.archive.pack import ArchiveRequest, pack

# argparse, not the library of our own commands: scripts rely on its abbreviations (`--model-n`).


def main(arguments: Sequence[str] | None = None) -> int:
    """Make an archive as the command line says, and return the exit status."""
    options = _parser().parse_args(arguments)
    logging.basicConfig(format="%(levelname)s - %(message)s", level=logging.WARNING)
    try:
        pack(_request_of(options))
    except (FlambeauError, OSError) as error:
        print(f"ERROR - {error}", file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="torch-model-archiver", description="Package a PyTorch model and its handler as a model archive.")
    required = parser.add_argument_group("required arguments")
    required.add_argument("--model-name", required=True, help="name of the model, and of the archive's file")
    required.add_argument("-v", "--version", required=True, help="the model's version, any text")
    required.add_argument("--handler", required=True, help="a built-in handler's name or a Python file, perhaps with :function")
    parser.add_argument("--serialized-file", type=Path, help="the weights: a state dict (.pt, .pth) or TorchScript (.pt)")
    parser.add_argument("--model-file", type=Path, help="the Python file whose one class builds the model; not for TorchScript")
    parser.add_argument("--extra-files", help="comma-separated files, folders and patterns that the handler needs")
    parser.add_argument(
        "--runtime", choices=("python", "python3", "LSP"), default="python", help="what runs the handler (default: %(default)s)"
    )
    parser.add_argument("--export-path", type=Path, default=Path(), help="folder to write to (default: the current one)")
    parser.add_argument(
        "--archive-format",
        choices=("tgz", "no-archive", "zip-store", "default"),
        default="default",
        help="tgz: .tar.gz; no-archive: a folder; zip-store: .mar without compression; default: .mar",
    )
    parser.add_argument("-f", "--force", action="store_true", help="overwrite an archive of that name")
    parser.add_argument("-r", "--requirements-file", type=Path, help="a requirements.txt with the handler's Python packages")
    parser.add_argument("-c", "--config-file", type=Path, help="a model-config.yaml")
    return parser


def _request_of(options: argparse.Namespace) -> ArchiveRequest:
    return ArchiveRequest(
        model_name=options.model_name,
        version=options.version,
        handler=options.handler,
        serialized_file=options.serialized_file,
        model_file=options.model_file,
        extra_files=tuple(item.strip() for item in (options.extra_files or "").split(",") if item.strip()),
        requirements_file=options.requirements_file,
        config_file=options.config_file,
        runtime=options.runtime,
        archive_format=options.archive_format,
        export_path=options.export_path,
        force=options.force,
    )
