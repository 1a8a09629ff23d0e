"""``model_archiver``'s smaller parts, for build scripts that take its steps one by one: the manifest's objects and the checks.

Re-exported by ``compat``; nothing else in flambeau calls it.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from enum import Enum
from pathlib import Path
from typing import Any

from flambeau.serving.archive.manifest import ARCHIVER_VERSION, manifest_document
from flambeau.serving.archive.manifest import Manifest as OurManifest
from flambeau.serving.archive.model_archiver import ModelArchiverConfig, ModelArchiverError, parse_arguments
from flambeau.serving.archive.pack import ALLOWED_NAME, ENDINGS, ArchiveFormat


class RuntimeType(Enum):
    """What may run a handler."""

    PYTHON = "python"
    PYTHON3 = "python3"
    LSP = "LSP"


class Model:
    """Hold the manifest's section ``model``; files are named without their folders."""

    def __init__(
        self,
        model_name: str,
        serialized_file: str | None,
        handler: str,
        model_file: str | None = None,
        model_version: str | None = None,
        extensions: Any = None,
        requirements_file: str | None = None,
        config_file: str | None = None,
    ) -> None:
        def base(path: str | None) -> str | None:
            return os.path.basename(path) if path else None

        self.model_name = model_name
        self.serialized_file = base(serialized_file)
        self.handler = os.path.basename(handler)
        self.model_file = base(model_file)
        self.model_version = model_version
        self.extensions = extensions
        self.requirements_file = base(requirements_file)
        self.config_file = base(config_file)
        manifest = OurManifest(
            model_name=model_name,
            # The dataclass has a version always; an unset one is taken out again below, as the original leaves it out.
            model_version=model_version or "",
            handler=self.handler,
            serialized_file=self.serialized_file,
            model_file=self.model_file,
            requirements_file=self.requirements_file,
            config_file=self.config_file,
        )
        self.model_dict: dict[str, Any] = {key: value for key, value in manifest_document(manifest)["model"].items() if value}
        if extensions:
            self.model_dict["extensions"] = extensions

    def __str__(self) -> str:
        return json.dumps(self.model_dict)

    __repr__ = __str__


class Manifest:
    """Hold MANIFEST.json; ``str`` is its text."""

    def __init__(self, runtime: str, model: Model) -> None:
        self.creation_time = time.strftime("%d/%m/%Y %H:%M:%S")
        self.runtime = RuntimeType(runtime)
        self.model = model
        self.archiver_version = ARCHIVER_VERSION
        self.manifest_dict = {
            "createdOn": self.creation_time,
            "runtime": self.runtime.value,
            "model": model.model_dict,
            "archiverVersion": self.archiver_version,
        }

    def __str__(self) -> str:
        return json.dumps(self.manifest_dict, indent=2)

    __repr__ = __str__


class ArgParser:
    """Read the archiver's command line."""

    @staticmethod
    def export_model_args_parser() -> ModelArchiverConfig:
        """Return what this process's command line says."""
        return parse_arguments()


class ModelExportUtils:
    """Check a request, and make its manifest."""

    @staticmethod
    def generate_model(modelcfg: ModelArchiverConfig | argparse.Namespace) -> Model:
        """Return the manifest's section ``model``."""
        return Model(
            model_name=modelcfg.model_name,
            serialized_file=modelcfg.serialized_file,
            handler=modelcfg.handler,
            model_file=modelcfg.model_file,
            model_version=modelcfg.version,
            requirements_file=modelcfg.requirements_file,
            config_file=modelcfg.config_file,
        )

    @staticmethod
    def generate_manifest_json(config: ModelArchiverConfig | argparse.Namespace) -> str:
        """Return MANIFEST.json's text, for ``package_model``."""
        return str(Manifest(runtime=config.runtime, model=ModelExportUtils.generate_model(config)))

    @staticmethod
    def get_archive_export_path(export_file_path: str, model_name: str, archive_format: ArchiveFormat) -> str:
        """Return the path that an archive gets."""
        return os.path.join(export_file_path, model_name + ENDINGS[archive_format])

    @staticmethod
    def check_mar_already_exists(
        model_name: str, export_file_path: str | None, overwrite: bool, archive_format: ArchiveFormat = "default"
    ) -> str:
        """Return the folder that the archive goes to.

        Raises:
            ModelArchiverError: the archive exists, and must not be overwritten.
        """
        folder = export_file_path or os.getcwd()
        path = ModelExportUtils.get_archive_export_path(folder, model_name, archive_format)
        if os.path.exists(path) and not overwrite:
            raise ModelArchiverError(f"{path} already exists.\nPlease specify --force/-f option to overwrite it.")
        return folder

    @staticmethod
    def check_model_name_regex_or_exit(model_name: str) -> None:
        """Check a model's name.

        Raises:
            ModelArchiverError: it has characters that paths and URLs can't carry.
        """
        if not ALLOWED_NAME.fullmatch(model_name):
            raise ModelArchiverError(f"Model name contains special characters.\nIt must match ^{ALLOWED_NAME.pattern}$")

    @staticmethod
    def validate_inputs(model_name: str, export_path: str) -> None:
        """Check a model's name and the folder that its archive goes to.

        Raises:
            ModelArchiverError: the name is not allowed, or there is no such folder.
        """
        ModelExportUtils.check_model_name_regex_or_exit(model_name)
        if not Path(export_path).is_dir():
            raise ModelArchiverError(f"Given export-path {export_path} is not a directory. Point to a valid export-path directory.")
