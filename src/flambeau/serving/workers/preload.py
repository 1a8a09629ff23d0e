"""What the fork server imports before its forks, and what it keeps out of that: workers share these pages, and pay for them.

torch's compiler comes only for models that look as if they used it. The fork server imports, the front looks at the models.
"""

from __future__ import annotations

import contextlib
import importlib
import re
import sys
import traceback
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from itertools import islice
from types import ModuleType
from typing import Any

from flambeau.serving.model import ModelSpec

PRELOADED = ("numpy", "torch", "PIL.Image", "torchvision.transforms", "flambeau.serving.handlers.defaults.vision")
"""Imported before the first fork, where installed: what picture and tensor handlers would import themselves, 1 to 2 s each time."""

COMPILER = "torch._dynamo"
FILES_MAX = 32
"""Of an archive's Python files, looked at for what uses the compiler."""
FILE_BYTES_MAX = 262_144
"""Of each."""
_USES_COMPILER = re.compile(rb"\b(torch\s*\.\s*compile|_dynamo|transformers|diffusers|captum)\b")
"""In code: torch's own words for it, and packages that import it themselves."""
_HANDLERS_USING_IT = ("huggingface_model",)

_ASKS_THE_COMPILER = "torchvision"
_QUESTION = "is_compile_supported"


def preload(names: Sequence[str]) -> list[str]:
    """Import the modules that are installed; return their names."""
    imported = []
    for name in names:
        try:
            if find_spec(name.partition(".")[0]) is not None:
                with _compiler_put_off() if name.startswith(_ASKS_THE_COMPILER) else contextlib.nullcontext():
                    importlib.import_module(name)
                imported.append(name)
        except Exception:
            # A broken torchvision must not keep models from loading that never use it.
            print(f"fork server: cannot import {name}: {traceback.format_exc()}", file=sys.stderr, flush=True)
    return imported


def uses_compiler(spec: ModelSpec) -> bool:
    """Tell whether a model looks as if it used torch's compiler. A wrong guess costs memory, or its workers half a second each."""
    if spec.yaml.get("pt2") or spec.handler in _HANDLERS_USING_IT:
        return True
    for path in islice(spec.directory.glob("*.py"), FILES_MAX):
        with contextlib.suppress(OSError), path.open("rb") as file:
            if _USES_COMPILER.search(file.read(FILE_BYTES_MAX)):
                return True
    return False


@contextlib.contextmanager
def _compiler_put_off() -> Iterator[None]:
    """Let what is imported meanwhile take torch's compiler, and import that when something of it is used.

    torchvision takes one function, to ask whether it could be compiled, in a branch that few models come to. The compiler and the algebra
    system that it brings are half a second and 75 of 310 MB.
    """
    if COMPILER in sys.modules:
        yield
        return
    package, utils = _Later(COMPILER), _Later(f"{COMPILER}.utils")
    vars(utils)[_QUESTION] = _supports_compilation
    sys.modules.update({each.__name__: each for each in (package, utils)})
    try:
        yield
    finally:
        _end_of_put_off()


def _end_of_put_off() -> None:
    for name in (COMPILER, f"{COMPILER}.utils"):
        if isinstance(sys.modules.get(name), _Later):
            del sys.modules[name]


def _supports_compilation(device_type: Any) -> Any:
    """Ask the true compiler."""
    return getattr(importlib.import_module(f"{COMPILER}.utils"), _QUESTION)(device_type)


class _Later(ModuleType):
    """Stand for a module of the compiler. Who takes more of it than the one function, now or later, gets the true one's."""

    def __getattr__(self, name: str) -> Any:
        # The import system asks every module whether it is a package; to look below this one is to take more of it.
        if name.startswith("__") and (self.__name__, name) != (COMPILER, "__path__"):
            raise AttributeError(name)
        _end_of_put_off()
        return getattr(importlib.import_module(self.__name__), name)
