"""``MAR-INF/MANIFEST.json``: what an archive says about itself.

Pure: the packer writes with it, the unpacker reads with it.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Any

from flambeau.foundation.errors import InvalidInput
from flambeau.foundation.files import is_safe_relative

MANIFEST_NAME = "MAR-INF/MANIFEST.json"
ARCHIVER_VERSION = "0.12.0"
"""The archiver whose format this is; TorchServe warns where it is missing."""
RUNTIMES = ("python", "python3", "LSP")
DEFAULT_VERSION = "1.0"

_FILE_KEYS = {
    "serializedFile": "serialized_file",
    "modelFile": "model_file",
    "requirementsFile": "requirements_file",
    "configFile": "config_file",
}


@dataclass(frozen=True, slots=True)
class Manifest:
    """Name an archive's model and the files it consists of; all but the runtime and the version may be missing."""

    model_name: str | None = None
    model_version: str = DEFAULT_VERSION
    handler: str | None = None
    """``mnist_handler.py``, ``image_classifier``, ``module:function``."""
    serialized_file: str | None = None
    model_file: str | None = None
    requirements_file: str | None = None
    config_file: str | None = None
    """model-config.yaml, whatever its name."""
    runtime: str = "python"
    created_on: str | None = None
    archiver_version: str | None = None
    description: str | None = None
    document: dict[str, Any] = field(default_factory=dict, compare=False)
    """The whole file as read, with the keys that only handlers know: ``context.manifest``."""


def parse_manifest(content: bytes, archive: str) -> Manifest:
    """Read a manifest.

    Args:
        content: the file's bytes.
        archive: the archive's name, for errors.

    Raises:
        InvalidInput: not a JSON object, a value of a wrong type, an unknown runtime, or a file name that leaves the archive.
    """
    where = f"archive {archive}: {MANIFEST_NAME}"
    try:
        document = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise InvalidInput(f"{where} is not JSON: {error}", hint="make the archive again with torch-model-archiver") from error
    if not isinstance(document, dict):
        raise InvalidInput(f"{where} must hold an object, not {type(document).__name__}")
    model = document.get("model", {})
    if not isinstance(model, dict):
        raise InvalidInput(f"{where}: model must be an object, not {type(model).__name__}")
    runtime = _text(document, "runtime", where) or "python"
    if runtime not in RUNTIMES:
        raise InvalidInput(f"{where}: runtime {runtime!r} is not one of {', '.join(RUNTIMES)}")
    return Manifest(
        model_name=_text(model, "modelName", f"{where}: model"),
        model_version=_version(model, f"{where}: model"),
        handler=_file(model, "handler", f"{where}: model"),
        runtime=runtime,
        created_on=_text(document, "createdOn", where),
        archiver_version=_text(document, "archiverVersion", where),
        description=_text(model, "description", f"{where}: model") or _text(document, "description", where),
        document=document,
        **{attribute: _file(model, key, f"{where}: model") for key, attribute in _FILE_KEYS.items()},
    )


def manifest_document(manifest: Manifest) -> dict[str, Any]:
    """Return a manifest's JSON form, its keys in the order that the original archiver writes them."""
    model = {
        "modelName": manifest.model_name,
        "serializedFile": manifest.serialized_file,
        "handler": manifest.handler,
        "modelFile": manifest.model_file,
        "modelVersion": manifest.model_version,
        "requirementsFile": manifest.requirements_file,
        "configFile": manifest.config_file,
    }
    return {
        "createdOn": manifest.created_on,
        "runtime": manifest.runtime,
        "model": {key: value for key, value in model.items() if value is not None},
        "archiverVersion": manifest.archiver_version,
    }


def name_of_archive(archive: PurePath) -> str:
    """Return the name that TorchServe gives a model whose manifest has none: ``nested.tar.gz`` is ``nested_tar_gz``."""
    name = archive.name
    return re.sub(r"\W|^_", "_", name.removesuffix(".mar").removesuffix(".model"))


def _text(document: dict[str, Any], key: str, where: str) -> str | None:
    value = document.get(key)
    if value is not None and not isinstance(value, str):
        raise InvalidInput(f"{where}.{key} must be a string, not {json.dumps(value)[:80]}")
    return value or None


def _version(model: dict[str, Any], where: str) -> str:
    value = model.get("modelVersion")
    # People who write manifests by hand write 1.0 without quotes; TorchServe takes it.
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    return _text(model, "modelVersion", where) or _text(model, "version", where) or DEFAULT_VERSION


def _file(model: dict[str, Any], key: str, where: str) -> str | None:
    name = _text(model, key, where)
    if name is not None and not is_safe_relative(name.partition(":")[0]):
        raise InvalidInput(f"{where}.{key} must name a file inside the archive, not {name!r}")
    return name
