"""What doctor says about an archive: unpacked by the server's own safe rules, its code parsed, nothing of it run."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import yaml

from flambeau.foundation.errors import FlambeauError
from flambeau.programs.doctor.code import examine_code
from flambeau.programs.doctor.configuration import Configured
from flambeau.programs.doctor.findings import Finding, Level, Row
from flambeau.programs.doctor.weights import ENDINGS, examine_weights
from flambeau.programs.settings.model_yaml import fields_of
from flambeau.serving.archive.manifest import Manifest
from flambeau.serving.archive.model_config import read_model_config
from flambeau.serving.archive.unpack import unpack
from flambeau.serving.handlers.discovery import BUILT_IN, module_name_of

SOURCES_MAX = 500
"""Python files of one archive that are looked into."""
_REQUIREMENT = re.compile(r"^\s*([A-Za-z0-9][A-Za-z0-9._-]*)", re.MULTILINE)


def is_archive(path: Path) -> bool:
    """Tell whether a path is a model archive, packed or not."""
    if path.is_dir():
        return (path / "MAR-INF").is_dir()
    return path.name.endswith((".mar", ".tar.gz", ".tgz"))


def examine_archive(path: Path, place: str, configured: Configured) -> list[Finding]:
    """Return what is to be said about an archive; last, whether it runs unchanged.

    Args:
        path: a file, or a folder with a manifest.
        place: how it is called in findings.
        configured: what config.properties says.
    """
    # Any tar.gz may lie beside models; a .mar is one.
    is_wanted = path.is_dir() or path.suffix == ".mar" or path.name in configured.archives
    with tempfile.TemporaryDirectory(prefix="flambeau-doctor-") as directory:
        try:
            unpacked = unpack(path, Path(directory))
        except FlambeauError as error:
            level = Level.CHANGE if is_wanted else Level.ADVICE
            return [Finding(level, place, error.message, error.hint or "", Row.ARCHIVES)]
        manifest, folder = unpacked.manifest, unpacked.directory
        if not manifest.document and not is_wanted:
            return [Finding(Level.ADVICE, place, "has no MANIFEST.json and is no model of the configuration; passed by")]
        findings = [
            *_of_manifest(manifest, folder, configured),
            *_of_config(manifest, folder),
            *_of_requirements(manifest, configured),
            *_of_files(manifest, folder, configured),
        ]
    findings = [replace(finding, place=f"{place}: {finding.place}" if finding.place else place) for finding in findings]
    if not any(finding.level is Level.CHANGE for finding in findings):
        what = (
            f"model {manifest.model_name or path.name} {manifest.model_version}, handler {manifest.handler or configured.default_handler}"
        )
        findings.append(Finding(Level.UNCHANGED, place, f"{what}: runs unchanged"))
    return findings


def _of_manifest(manifest: Manifest, folder: Path, configured: Configured) -> Iterator[Finding]:
    if manifest.runtime == "LSP":
        yield Finding(
            Level.CHANGE, "", "its runtime is LSP, TorchServe's C++ backend, which is not here", "serve it from Python", Row.CPP_BACKEND
        )
    handler = manifest.handler or configured.default_handler
    if handler is None:
        hint = "give --handler to torch-model-archiver, or default_service_handler in config.properties"
        yield Finding(Level.CHANGE, "", "names no handler", hint)
    elif not (folder / f"{module_name_of(handler)}.py").is_file() and module_name_of(handler) not in BUILT_IN:
        text = f"its handler {handler} is neither in the archive nor built in"
        yield Finding(Level.CHANGE, "", text, f"built in are {', '.join(sorted(BUILT_IN))}")
    for key, name in (("serializedFile", manifest.serialized_file), ("modelFile", manifest.model_file)):
        if name and not (folder / name).is_file():
            yield Finding(Level.CHANGE, "MANIFEST.json", f"{key} {name} is not in the archive", "make the archive again")


def _of_config(manifest: Manifest, folder: Path) -> Iterator[Finding]:
    try:
        _, refused = fields_of(read_model_config(folder, manifest))
    except (FlambeauError, yaml.YAMLError) as error:
        yield Finding(Level.CHANGE, manifest.config_file or "", str(error), "correct it")
        return
    for why in refused:
        yield Finding(Level.DIFFERS, manifest.config_file or "", f"{why}; it is skipped", "correct it")


def _of_requirements(manifest: Manifest, configured: Configured) -> Iterator[Finding]:
    if manifest.requirements_file and not configured.installs_requirements:
        text = "is not installed, as in TorchServe, while install_py_dep_per_model is false"
        yield Finding(Level.ADVICE, manifest.requirements_file, text, "set it to true, or install the packages where the server runs")


def _of_files(manifest: Manifest, folder: Path, configured: Configured) -> Iterator[Finding]:
    sources = sorted(folder.rglob("*.py"))[:SOURCES_MAX]
    own = {path.name.removesuffix(".py") for path in folder.iterdir() if path.suffix == ".py" or path.is_dir()}
    installed: set[str] = set()
    if manifest.requirements_file and configured.installs_requirements and (folder / manifest.requirements_file).is_file():
        text = (folder / manifest.requirements_file).read_text("utf-8", "replace")
        installed = {name.lower() for name in _REQUIREMENT.findall(text)}
    for source in sources:
        name = str(source.relative_to(folder))
        yield from examine_code(source.read_bytes(), name, own_modules=own, installed=installed)
    for weights in sorted(path for path in folder.rglob("*") if path.suffix in ENDINGS and path.is_file()):
        finding = examine_weights(weights, str(weights.relative_to(folder)))
        if finding is not None:
            yield finding
