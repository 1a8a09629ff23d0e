"""What doctor says about a workflow archive: unpacked by the server's own safe rules, its spec and code parsed, nothing of it run."""

from __future__ import annotations

import ast
import tempfile
from collections.abc import Collection, Iterator
from dataclasses import replace
from pathlib import Path

from flambeau.foundation.errors import FlambeauError
from flambeau.programs.doctor.code import examine_code
from flambeau.programs.doctor.findings import Finding, Level, Row
from flambeau.serving.archive.workflow import unpack_workflow
from flambeau.serving.workflow.spec import SPEC_BYTES_MAX, WorkflowSpec, read_spec

SOURCES_MAX = 500
"""Python files of one archive that are looked into."""


def examine_workflow(path: Path, place: str, in_store: Collection[str]) -> list[Finding]:
    """Return what is to be said about a workflow archive; last, whether it runs unchanged.

    Args:
        path: a ``.war``.
        place: how it is called in findings.
        in_store: names of the archives there are.
    """
    with tempfile.TemporaryDirectory(prefix="flambeau-doctor-") as directory:
        try:
            unpacked = unpack_workflow(path, Path(directory))
        except FlambeauError as error:
            return [Finding(Level.CHANGE, place, error.message, error.hint or "", Row.ARCHIVES)]
        manifest, folder = unpacked.manifest, unpacked.directory
        findings = list(_of_code(folder))
        try:
            with open(folder / manifest.spec_file, encoding="utf-8") as file:
                spec = read_spec(file.read(SPEC_BYTES_MAX + 1), source=manifest.spec_file)
        except (FlambeauError, UnicodeDecodeError) as error:
            findings.append(Finding(Level.CHANGE, "", str(error), "" if isinstance(error, FlambeauError) else "write it in UTF-8"))
        else:
            source = (folder / manifest.handler).read_bytes() if manifest.handler else b""
            findings += _of_nodes(spec, manifest.handler, source, in_store)
            if not any(finding.level is Level.CHANGE for finding in findings):
                findings.append(
                    Finding(Level.UNCHANGED, "", f"workflow {manifest.workflow_name} of {len(spec.nodes)} nodes: runs unchanged")
                )
    return [replace(finding, place=f"{place}: {finding.place}" if finding.place else place) for finding in findings]


def _of_nodes(spec: WorkflowSpec, handler: str | None, source: bytes, in_store: Collection[str]) -> Iterator[Finding]:
    for warning in spec.warnings:
        yield Finding(Level.ADVICE, "", warning)
    functions = _functions_of(source)
    for name, node in spec.nodes.items():
        if node.url is not None and "://" not in node.url and node.url not in in_store:
            yield Finding(Level.ADVICE, "", f"model {name} names {node.url}, which is not in this set-up")
        if node.url is None and functions is not None and name not in functions:
            text = f"node {name} is neither a model nor a function of {handler or 'a handler'}"
            yield Finding(Level.CHANGE, "", text, "define it, or list it under models")


def _functions_of(source: bytes) -> set[str] | None:
    """Return the names that a handler's file may have; None if that can't be told, as where it imports all that another has."""
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError):
        return None
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
        elif isinstance(node, ast.alias):
            names.add(node.asname or node.name)
    return None if "*" in names else names


def _of_code(folder: Path) -> Iterator[Finding]:
    own = {path.name.removesuffix(".py") for path in folder.iterdir() if path.suffix == ".py" or path.is_dir()}
    for source in sorted(folder.rglob("*.py"))[:SOURCES_MAX]:
        yield from examine_code(source.read_bytes(), str(source.relative_to(folder)), own_modules=own, installed=set())
