"""What doctor says about Python files: which packages they need, and calls that behave differently. Parses, never runs."""

from __future__ import annotations

import ast
import importlib.util
import sys
from collections.abc import Collection, Iterator
from pathlib import Path

from flambeau.programs.doctor.findings import Finding, Level, Row
from flambeau.serving.handlers.diagnosis import package_of
from flambeau.serving.handlers.service import TORCHSERVE_SURFACE

SOURCE_BYTES_MAX = 1_048_576
"""A Python file above this is not looked into."""


def examine_code(source: bytes, place: str, *, own_modules: Collection[str], installed: Collection[str]) -> list[Finding]:
    """Return what is to be said about a Python file.

    Args:
        source: its bytes.
        place: how it is called in findings.
        own_modules: top-level modules that come with it.
        installed: distributions that its requirements.txt installs.
    """
    if len(source) > SOURCE_BYTES_MAX:
        return [Finding(Level.ADVICE, place, f"not looked into: it is over {SOURCE_BYTES_MAX} bytes")]
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        line = getattr(error, "lineno", None)
        return [Finding(Level.CHANGE, f"{place}:{line}" if line else place, f"is no Python that runs here: {error}", "correct it")]
    findings = []
    guarded = _guarded(tree)
    said: set[str] = set()
    for node in ast.walk(tree):
        for module, names in _imported(node):
            line = getattr(node, "lineno", 0)
            top = module.partition(".")[0]
            if top == "ts":
                missing = _missing_of_surface(module, names)
                if missing and missing not in said:
                    said.add(missing)
                    text = f"imports {missing}, which flambeau's ts does not offer"
                    findings.append(Finding(Level.CHANGE, f"{place}:{line}", text, "take what is needed of it into the archive"))
            elif top not in said and not _is_there(top, own_modules):
                said.add(top)
                findings.append(_of_missing(f"{place}:{line}", top, is_guarded=id(node) in guarded, installed=installed))
        if isinstance(node, ast.Call):
            findings += _of_call(node, place)
    return findings


def _imported(node: ast.AST) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Return modules that a statement imports, and the names from them."""
    if isinstance(node, ast.Import):
        for alias in node.names:
            yield alias.name, ()
    elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
        yield node.module, tuple(alias.name for alias in node.names)


def _guarded(tree: ast.Module) -> set[int]:
    """Return the imports that a ``try`` expects to fail."""
    return {
        id(node)
        for attempt in ast.walk(tree)
        if isinstance(attempt, ast.Try) and attempt.handlers
        for statement in attempt.body
        for node in ast.walk(statement)
    }


def _is_there(top: str, own_modules: Collection[str]) -> bool:
    if top in own_modules or top in sys.stdlib_module_names or top in sys.builtin_module_names:
        return True
    try:
        return importlib.util.find_spec(top) is not None  # finds a top-level package without importing it
    except (ImportError, ValueError):
        return False


def _of_missing(place: str, top: str, *, is_guarded: bool, installed: Collection[str]) -> Finding:
    package = package_of(top)
    if package.lower() in installed or top.lower() in installed:
        return Finding(Level.UNCHANGED, place, f"needs {top}, which its requirements.txt installs")
    if is_guarded:
        return Finding(Level.ADVICE, place, f"would use {top}, which is not installed here", f"pip install {package}")
    hint = f"pip install {package} where the server runs, or archive a requirements.txt and set install_py_dep_per_model=true"
    return Finding(Level.CHANGE, place, f"imports {top}, which is not installed here", hint)


def _missing_of_surface(module: str, names: tuple[str, ...]) -> str | None:
    """Return what a module of ``ts`` lacks, or None."""
    path = TORCHSERVE_SURFACE.joinpath(*module.split("."))
    file = path.with_suffix(".py") if path.with_suffix(".py").is_file() else path / "__init__.py"
    if not file.is_file():
        return module
    offered = _names_of(file)
    for name in names:
        below = path / name
        if name != "*" and name not in offered and not (below.is_dir() or below.with_suffix(".py").is_file()):
            return f"{module}.{name}"
    return None


def _names_of(file: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.parse(file.read_bytes()).body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            found |= {alias.asname or alias.name for alias in node.names}
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.Assign):
            found |= {target.id for target in node.targets if isinstance(target, ast.Name)}
    return found


def _of_call(call: ast.Call, place: str) -> list[Finding]:
    match call.func:
        case ast.Attribute(value=ast.Name(id="torch"), attr="load"):
            pass
        case _:
            return []
    given = next((keyword.value for keyword in call.keywords if keyword.arg == "weights_only"), None)
    where = f"{place}:{call.lineno}"
    if given is None:
        text = "torch.load without weights_only: torch 2.6 and newer load tensors only"
        return [Finding(Level.DIFFERS, where, text, "save a state dict, or pass weights_only=False if you trust the file", Row.TORCH_LOAD)]
    if isinstance(given, ast.Constant) and given.value is False:
        text = "torch.load with weights_only=False: whoever writes the file can run code"
        return [Finding(Level.ADVICE, where, text, "save a state dict and load it with weights_only=True")]
    return []
