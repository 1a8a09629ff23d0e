"""Read a model-config.yaml outside a server."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml


def get_yaml_config(yaml_file_path: str | Path) -> Any:
    """Return what a YAML file says.

    Raises:
        FileNotFoundError: there is none.
        yaml.YAMLError: it is not YAML; objects of any class but YAML's own count as that.
    """
    return yaml.safe_load(Path(yaml_file_path).read_bytes())
