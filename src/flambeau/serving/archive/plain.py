"""A plain folder as an archive: which of its files is the handler, which holds the weights.

For folders that nobody has packed (``flambeau serve DIR``, ``flambeau runtime``, ``flambeau test-handler DIR``). Python files are parsed,
never run. A folder without a handler of its own gets one of ours, by the format of its model file (``formats``).
"""

from __future__ import annotations

import ast
import re
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from flambeau.foundation.errors import InvalidInput
from flambeau.serving.archive.formats import found_in, model_in
from flambeau.serving.archive.manifest import MANIFEST_NAME, Manifest, manifest_document, parse_manifest

WEIGHTS = (".pt", ".pth", ".pt2", ".onnx")
"""Endings of files that a handler may load; of several the one called ``model`` is taken."""
SOURCE_BYTES_MAX = 1_048_576
"""A Python file above this is not looked into."""


def is_model_folder(directory: Path) -> bool:
    """Tell whether a folder is one model, rather than a store of models."""
    if (directory / MANIFEST_NAME).is_file() or any(directory.glob("*.py")):
        return True
    return not any(directory.glob("*.mar")) and bool(found_in(directory))


def manifest_of_model(directory: Path, wanted: str | None, options: Mapping[str, object] | None = None) -> Manifest:
    """Return a manifest for a folder's model file, run by our own handler for its format.

    Args:
        directory: the folder.
        wanted: the format that somebody named; None: the files say.
        options: for the handler, which reads them as the manifest's ``model.options``.

    Raises:
        InvalidInput: there is no such model file, or more than one.
    """
    found = model_in(directory, wanted)
    model_file = None
    if found.format == "torch" and found.file is not None:
        model_file = _model_file_of(directory / found.file, sorted(directory.glob("*.py")))
    manifest = Manifest(
        model_name=re.sub(r"\W", "_", directory.resolve().name),
        handler=found.handler,
        serialized_file=found.file,
        model_file=model_file,
        config_file=_present(directory, "model-config.yaml"),
        requirements_file=_present(directory, "requirements.txt"),
    )
    document = manifest_document(manifest)
    return replace(manifest, document={**document, "model": {**document["model"], "options": dict(options or {})}})


def manifest_of_folder(directory: Path) -> Manifest:
    """Return a folder's own manifest, completed by what its files say.

    The handler is ``handler.py``, else the only file with ``handler`` in its name, else the only one that defines a handler, else ours for
    the format of the only model file.

    Raises:
        InvalidInput: no handler can be told, or the manifest is malformed; the text names the candidates.
    """
    path = directory / MANIFEST_NAME
    own = parse_manifest(path.read_bytes(), directory.name) if path.is_file() else Manifest()
    sources = sorted(directory.glob("*.py"))
    if not path.is_file() and not _candidates(sources) and found_in(directory):
        return manifest_of_model(directory, None)
    handler = own.handler or _handler_of(directory, sources)
    weights = own.serialized_file or _weights_of(directory)
    model_file = own.model_file
    if model_file is None and weights is not None and own.handler is None:
        model_file = _model_file_of(directory / weights, [source for source in sources if source.name != handler])
    found = Manifest(
        model_name=own.model_name or re.sub(r"\W", "_", directory.resolve().name),
        model_version=own.model_version,
        handler=handler,
        serialized_file=weights,
        model_file=model_file,
        requirements_file=own.requirements_file or _present(directory, "requirements.txt"),
        config_file=own.config_file or _present(directory, "model-config.yaml"),
        runtime=own.runtime,
        created_on=own.created_on,
        archiver_version=own.archiver_version,
        description=own.description,
    )
    document = {**own.document, **manifest_document(found)}
    document["model"] = {**own.document.get("model", {}), **document["model"]}
    return replace(found, document=document)


def summary_of(manifest: Manifest) -> str:
    """Return what a manifest says in one line: ``model "mnist" 1.0: handler handler.py, weights mnist.pt``."""
    parts = [f"handler {manifest.handler}"]
    if manifest.serialized_file:
        parts.append(f"weights {manifest.serialized_file}")
    if manifest.model_file:
        parts.append(f"the model's class from {manifest.model_file}")
    if manifest.config_file:
        parts.append(f"settings {manifest.config_file}")
    return f'model "{manifest.model_name}" {manifest.model_version}: {", ".join(parts)}'


def _handler_of(directory: Path, sources: Sequence[Path]) -> str:
    candidates = _candidates(sources)
    if len(candidates) == 1:
        return candidates[0]
    names = ", ".join(source.name for source in sources) or "its files"
    found = f"{' and '.join(candidates)} both look like one" if candidates else f"none of {names} looks like one"
    raise InvalidInput(
        f"cannot tell the handler of {directory}: {found}",
        hint=f"call it handler.py, or name it in {MANIFEST_NAME}",
        reason="HandlerNotFound",
    )


def _candidates(sources: Sequence[Path]) -> list[str]:
    """Return the files that could be the handler, one where it is clear."""
    names = [source.name for source in sources]
    if "handler.py" in names:
        return ["handler.py"]
    called = [name for name in names if "handler" in name.lower()]
    return called if len(called) == 1 else [source.name for source in sources if _defines_handler(source)]


def _defines_handler(source: Path) -> bool:
    """Tell whether a file defines ``handle(data, context)``, or a class that has it or inherits from a handler."""
    for node in _body_of(source):
        if isinstance(node, ast.FunctionDef) and node.name == "handle":
            return True
        if isinstance(node, ast.ClassDef) and (
            any(isinstance(item, ast.FunctionDef) and item.name == "handle" for item in node.body)
            or any(_last_name(base).endswith(("Handler", "Classifier", "Segmenter", "Detector")) for base in node.bases)
        ):
            return True
    return False


def _weights_of(directory: Path) -> str | None:
    found = sorted(entry.name for entry in directory.iterdir() if entry.suffix in WEIGHTS and entry.is_file())
    if len(found) == 1:
        return found[0]
    return next((name for name in found if name.startswith("model.")), None)


def _model_file_of(weights: Path, sources: Sequence[Path]) -> str | None:
    """Return the file whose class the weights belong to; None where they bring their own code."""
    if weights.suffix not in (".pt", ".pth") or _is_torchscript(weights):
        return None
    modules = [source.name for source in sources if source.name == "model.py" or _defines_module(source)]
    return "model.py" if "model.py" in modules else modules[0] if len(modules) == 1 else None


def _defines_module(source: Path) -> bool:
    return any(isinstance(node, ast.ClassDef) and any(_last_name(base) == "Module" for base in node.bases) for node in _body_of(source))


def _is_torchscript(weights: Path) -> bool:
    try:
        with zipfile.ZipFile(weights) as packed:
            return any("/code/" in name for name in packed.namelist())
    except (zipfile.BadZipFile, OSError):
        return False


def _body_of(source: Path) -> list[ast.stmt]:
    """Return a file's statements; none where it can't be read, for loading it will say why."""
    try:
        with source.open("rb") as file:
            return ast.parse(file.read(SOURCE_BYTES_MAX)).body
    except (SyntaxError, ValueError, RecursionError, MemoryError, OSError):
        return []


def _last_name(node: ast.expr) -> str:
    """Return ``Module`` of ``torch.nn.Module``."""
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def _present(directory: Path, name: str) -> str | None:
    return name if (directory / name).is_file() else None
