"""Read an archive's model-config.yaml; what its keys mean is ``programs.settings.model_yaml``'s."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from flambeau.foundation.errors import InvalidInput, TooLarge
from flambeau.serving.archive.manifest import Manifest

YAML_BYTES_MAX = 1_048_576
"""A model-config.yaml above this is refused unread."""


def read_model_config(directory: Path, manifest: Manifest) -> dict[str, Any]:
    """Return an archive's model-config.yaml; empty if it has none.

    Raises:
        InvalidInput: it is named but missing, too large or no YAML object; the text says where.
    """
    if manifest.config_file is None:
        return {}
    path = directory / manifest.config_file
    if not path.is_file():
        raise InvalidInput(f"the archive names {manifest.config_file} as its config, but does not hold it")
    if path.stat().st_size > YAML_BYTES_MAX:
        raise TooLarge(f"{manifest.config_file} is over {YAML_BYTES_MAX} bytes")
    try:
        found = yaml.safe_load(path.read_bytes())
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InvalidInput(f"{manifest.config_file} is not YAML: {' '.join(str(error).split())}") from error
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise InvalidInput(f"{manifest.config_file} must hold keys and values, not a {type(found).__name__}")
    return found
