"""Find what a TorchServe set-up consists of and have it examined."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from flambeau.foundation.errors import NotFound
from flambeau.programs.doctor.archives import examine_archive, is_archive
from flambeau.programs.doctor.configuration import Configured, examine_configuration
from flambeau.programs.doctor.findings import Finding, Level, Report
from flambeau.programs.doctor.scripts import CHARACTERS_MAX, NAMES, examine_script
from flambeau.programs.settings.properties import FILE_BYTES_MAX

FILES_MAX = 20_000
"""Files of a set-up that are looked at; a model store's weights are few."""
_PASSED_BY = frozenset({"node_modules", "__pycache__", "site-packages", "logs"})

_ORDER = list(Level)


def examine(path: Path, environment: Mapping[str, str]) -> Report:
    """Return what is to be said about a set-up, the most pressing first.

    Args:
        path: a folder with config.properties, archives and scripts, or one of these.
        environment: variables that config.properties may use.

    Raises:
        NotFound: there is no such path.
    """
    if not path.exists():
        raise NotFound(f"cannot examine {path}: there is no such file or folder")
    files = list(_files(path))
    root = path if path.is_dir() and not is_archive(path) else path.parent
    archives = [file for file in files if is_archive(file)]
    in_store = {file.name for file in archives}
    findings: list[Finding] = []
    configured = Configured()
    for file in files:
        if file.suffix == ".properties":
            text = file.read_bytes()[:FILE_BYTES_MAX].decode("utf-8", "replace")
            own, configured = examine_configuration(text, str(file.relative_to(root)), environment, in_store)
            findings += own
    for file in files:
        place = str(file.relative_to(root))
        if file in archives:
            findings += examine_archive(file, place, configured)
        elif file.is_file() and NAMES.match(file.name):
            findings += examine_script(file.read_bytes()[:CHARACTERS_MAX].decode("utf-8", "replace"), place)
        elif file.suffix == ".war":
            findings.append(Finding(Level.UNCHANGED, place, "a workflow archive; its models are examined as archives of their own"))
    if not findings:
        findings.append(Finding(Level.ADVICE, str(path), "holds no config.properties, archive or script: is it the right folder?"))
    return Report(str(path), sorted(findings, key=lambda finding: _ORDER.index(finding.level)))


def _files(path: Path) -> Iterator[Path]:
    """Return files, and folders that are unpacked archives, in order; bounded."""
    if path.is_file() or is_archive(path):
        yield path
        return
    left = FILES_MAX
    for directory, folders, names in os.walk(path):
        unpacked = sorted(name for name in folders if is_archive(Path(directory, name)))
        yield from (Path(directory, name) for name in unpacked)
        folders[:] = sorted(name for name in folders if name not in unpacked and name not in _PASSED_BY and not name.startswith("."))
        for name in sorted(names):
            left -= 1
            if left < 0:
                return
            yield Path(directory, name)
