"""Workflow archives: a spec, a Python file with the nodes' functions, and ``WAR-INF/MANIFEST.json``, in a zip.

``torch-workflow-archiver`` makes them, the workflow room opens them. They are packed and unpacked by the rules of model archives.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flambeau.foundation.errors import InvalidInput
from flambeau.foundation.files import is_safe_relative
from flambeau.foundation.unpack_guard import UnpackLimits
from flambeau.serving.archive.pack import add_entry, appearing_whole, existing, target_of, write_zip
from flambeau.serving.archive.unpack import read_manifest_file, unpack_with

WORKFLOW_MANIFEST_NAME = "WAR-INF/MANIFEST.json"
WORKFLOW_ARCHIVER_VERSION = "0.2.15"
"""The archiver whose format this is."""
_HINT = "make the archive with torch-workflow-archiver"


@dataclass(frozen=True, slots=True)
class WorkflowManifest:
    """Name a workflow and its files."""

    workflow_name: str
    spec_file: str
    handler: str | None = None
    """The file whose functions are nodes; None where there are none."""


@dataclass(frozen=True, slots=True)
class UnpackedWorkflow:
    """A workflow archive as a folder."""

    directory: Path
    """A folder given as archive is used where it is; else the caller removes this one."""
    manifest: WorkflowManifest


@dataclass(frozen=True, slots=True)
class WorkflowArchiveRequest:
    """What to put into a workflow archive, and where to write it."""

    workflow_name: str
    spec_file: Path
    handler: Path
    extra_files: tuple[Path, ...] = ()
    export_path: Path = Path()
    force: bool = False


def pack_workflow(request: WorkflowArchiveRequest) -> Path:
    """Write a workflow archive and return its path; it appears whole or not at all.

    Raises:
        InvalidInput: the workflow's name has characters that paths and URLs can't carry.
        NotFound: a file that was named isn't there, or the export path is no folder.
        Conflict: the target exists and ``force`` is off.
    """
    target = target_of(request.export_path, request.workflow_name, ".war", what="workflow", force=request.force)
    entries: dict[str, Path] = {}
    for path in (request.spec_file, request.handler, *request.extra_files):
        add_entry(entries, path.name, existing(path))
    document = {
        "createdOn": time.strftime("%d/%m/%Y %H:%M:%S"),
        "workflow": {"workflowName": request.workflow_name, "specFile": request.spec_file.name, "handler": request.handler.name},
        "archiverVersion": WORKFLOW_ARCHIVER_VERSION,
    }
    with appearing_whole(target) as made:
        write_zip(made, dict(sorted(entries.items())), json.dumps(document, indent=2).encode(), manifest_name=WORKFLOW_MANIFEST_NAME)
    return target


def unpack_workflow(archive: Path, target_root: Path, limits: UnpackLimits | None = None) -> UnpackedWorkflow:
    """Unpack a workflow archive into a new folder, or read a folder's manifest.

    Args:
        archive: the file or folder.
        target_root: where the new folder goes; it is made if missing.
        limits: how much the archive may expand to.

    Raises:
        NotFound: there is no such file.
        InvalidInput: not an archive, truncated, unsafe, or no workflow's.
        Unavailable: the disk is full, or the archive can't be read.
    """
    return UnpackedWorkflow(*unpack_with(archive, target_root, _read_manifest, limits or UnpackLimits()))


def parse_workflow_manifest(content: bytes, archive: str) -> WorkflowManifest:
    """Read a workflow's manifest.

    Args:
        content: the file's bytes.
        archive: the archive's name, for errors.

    Raises:
        InvalidInput: not a JSON object, no name or spec in it, or a file name that leaves the archive.
    """
    where = f"archive {archive}: {WORKFLOW_MANIFEST_NAME}"
    try:
        document = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise InvalidInput(f"{where} is not JSON: {error}", hint=_HINT) from error
    workflow = document.get("workflow") if isinstance(document, dict) else None
    if not isinstance(workflow, dict):
        raise InvalidInput(f"{where}: Missing Workflow entry in manifest file.", hint=_HINT)
    name, spec_file, handler = (_text(workflow, key, where) for key in ("workflowName", "specFile", "handler"))
    if name is None:
        raise InvalidInput(f"{where}: Workflow name is not defined.", hint=_HINT)
    if spec_file is None:
        raise InvalidInput(f"{where}: no specFile is named", hint=_HINT)
    for file in filter(None, (spec_file, handler)):
        if not is_safe_relative(file):
            raise InvalidInput(f"{where} must name files inside the archive, not {file!r}")
    return WorkflowManifest(name, spec_file, handler)


def _read_manifest(directory: Path, archive: str) -> WorkflowManifest:
    content = read_manifest_file(directory, WORKFLOW_MANIFEST_NAME, archive)
    if content is None:
        raise InvalidInput(f"archive {archive} is no workflow archive: it has no {WORKFLOW_MANIFEST_NAME}", hint=_HINT)
    manifest = parse_workflow_manifest(content, archive)
    for file in filter(None, (manifest.spec_file, manifest.handler)):
        if not (directory / file).is_file():
            raise InvalidInput(f"archive {archive} names {file}, but does not hold it", hint=_HINT)
    return manifest


def _text(workflow: dict[str, Any], key: str, where: str) -> str | None:
    value = workflow.get(key)
    if value is not None and not isinstance(value, str):
        raise InvalidInput(f"{where}: workflow.{key} must be a text, not {type(value).__name__}")
    return value or None
