"""``flambeau archive``: package a model; ``torch-model-archiver``'s flags, and a line that says what was written."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from flambeau.serving.archive.pack import ArchiveFormat, ArchiveRequest, Runtime, pack


def archive(
    *,
    model_name: str,
    handler: str,
    version: Annotated[str, Parameter(name=["--version", "-v"])] = "1.0",
    serialized_file: Path | None = None,
    model_file: Path | None = None,
    extra_files: str = "",
    runtime: Runtime = "python",
    export_path: Path = Path(),
    archive_format: ArchiveFormat = "default",
    force: Annotated[bool, Parameter(name=["--force", "-f"], negative="")] = False,
    requirements_file: Annotated[Path | None, Parameter(name=["--requirements-file", "-r"])] = None,
    config_file: Annotated[Path | None, Parameter(name=["--config-file", "-c"])] = None,
) -> None:
    """Package a PyTorch model and its handler as a model archive.

    Args:
        model_name: name of the model, and of the archive's file, such as `--model-name mnist`.
        handler: a built-in handler's name or a Python file, perhaps with :function, such as `--handler image_classifier`.
        version: the model's version, any text, such as `--version 2.0`.
        serialized_file: the weights, a state dict (.pt, .pth) or TorchScript (.pt), such as `--serialized-file mnist_cnn.pt`.
        model_file: the Python file whose one class builds the model; not for TorchScript, such as `--model-file mnist.py`.
        extra_files: comma-separated files, folders and patterns that the handler needs, such as `--extra-files index_to_name.json,vocab/`.
        runtime: what runs the handler, such as `--runtime python3`.
        export_path: folder to write to, such as `--export-path model-store`.
        archive_format: a zip (default), without compression, a tar.gz or a folder, such as `--archive-format tgz`.
        force: overwrite an archive of that name, such as `--force`.
        requirements_file: a requirements.txt with the handler's Python packages, such as `--requirements-file requirements.txt`.
        config_file: a model-config.yaml, such as `--config-file model-config.yaml`.
    """
    written = pack(
        ArchiveRequest(
            model_name=model_name,
            version=version,
            handler=handler,
            serialized_file=serialized_file,
            model_file=model_file,
            extra_files=tuple(item.strip() for item in extra_files.split(",") if item.strip()),
            requirements_file=requirements_file,
            config_file=config_file,
            runtime=runtime,
            archive_format=archive_format,
            export_path=export_path,
            force=force,
        )
    )
    size = f"{written.stat().st_size:,} bytes" if written.is_file() else "a folder"
    print(f"wrote {written} ({size})")
