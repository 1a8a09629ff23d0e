"""Libraries that only some models need: imported when such a model is loaded, and named with their command where they are missing."""

from __future__ import annotations

import importlib
from typing import Any


def required(module: str, extra: str) -> Any:
    """Import a library.

    Args:
        module: how it is imported.
        extra: of flambeau, which brings it.

    Raises:
        ImportError: it is not installed; the text says what to type.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name != module.partition(".")[0]:
            raise
        raise ImportError(f"this model needs {error.name}, which is not installed: pip install 'flambeau[{extra}]'") from error
