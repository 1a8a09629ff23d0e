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
from flambeau.programs.doctor.workflows import examine_workflow
from flambeau.programs.settings.properties import FILE_BYTES_MAX

FILES_MAX = 20_000
"""Files of a set-up that are looked at; a model store's weights are few."""
_CONFIGURATION = ".properties"
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
    in_store = {file.name for file in files if is_archive(file)}
    findings: list[Finding] = []
    configured = Configured()
    for file in sorted(files, key=lambda file: file.suffix != _CONFIGURATION):  # what archives are for is known when they are looked at
        place = str(file.relative_to(root))
        try:
            if file.suffix == _CONFIGURATION:
                own, wanted = examine_configuration(_text(file, FILE_BYTES_MAX), place, environment, in_store)
                findings += own
                configured = configured.and_also(wanted)
            elif is_archive(file):
                findings += examine_archive(file, place, configured)
            elif NAMES.match(file.name):
                findings += examine_script(_text(file, CHARACTERS_MAX), place)
            elif file.suffix == ".war":
                findings += examine_workflow(file, place, in_store)
        except OSError as error:
            findings.append(Finding(Level.ADVICE, place, f"cannot be read: {error.strerror}"))
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
            if Path(directory, name).is_file():  # neither a pipe nor a device
                yield Path(directory, name)


def _text(file: Path, characters_max: int) -> str:
    with file.open(encoding="utf-8", errors="replace") as opened:
        return opened.read(characters_max)
