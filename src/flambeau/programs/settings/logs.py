"""What is logged, in which form, and whether TorchServe's files are written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from flambeau.foundation.logs import Format
from flambeau.programs.settings.log4j import ROOT, log4j_file_of, read_levels
from flambeau.programs.settings.mounts import Mounts
from flambeau.programs.settings.sources import Values

FORMAT_VARIABLE = "FLAMBEAU_LOG_FORMAT"
LEVEL_VARIABLE = "FLAMBEAU_LOG_LEVEL"
ACCESS_LOG_VARIABLE = "FLAMBEAU_ACCESS_LOG"
DIRECTORY_VARIABLE = "LOG_LOCATION"
METRICS_DIRECTORY_VARIABLE = "METRICS_LOCATION"
DIRECTORY_DEFAULT = "logs"
"""TorchServe's, below the working directory."""

_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")


@dataclass(frozen=True, slots=True)
class LogSettings:
    """What is logged and where."""

    format: Format = "text"
    """Of the console."""
    level: str = "INFO"
    """Of the server's own lines."""
    library_level: str = "INFO"
    """Of everybody else's."""
    access: bool = True
    """One line per request on standard output; FLAMBEAU_ACCESS_LOG=off turns it off."""
    workers: bool = True
    """What workers print."""
    server_metrics: bool = True
    """Lines of the server's metrics, where metrics_mode asks for them."""
    model_metrics: bool = True
    directory: Path | None = None
    """Where access_log.log, ts_log.log and model_log.log are written; None: nowhere."""
    metrics_directory: Path | None = None
    """Where ts_metrics.log and model_metrics.log are written, in the modes that log metrics; None: standard output."""


def log_settings(
    values: Values, environment: Mapping[str, str], mounts: Mounts, directory: Path, *, log_config: str | None, look_alike: bool
) -> tuple[LogSettings, list[str]]:
    """Return what is logged and where, and what is odd about it.

    Files are written where somebody expects them: by ``torchserve``, and where LOG_LOCATION, METRICS_LOCATION or a log4j file says so.

    Args:
        values: the keys.
        environment: the process's variables.
        mounts: where a container's paths are.
        directory: relative paths begin here.
        log_config: ``--log-config``.
        look_alike: the server was started as ``torchserve``.

    Raises:
        InvalidInput: the log4j file is none.
        NotFound: it isn't there.
    """
    source, file = "--log-config", log_config
    if file is None:
        source, file = f"vmargs ({values['vmargs'].source})", log4j_file_of(values["vmargs"].text)
    levels = read_levels(directory / mounts.real(file), source=source) if file is not None else {}
    notes = [f"{source} {file}: its levels count; appenders, layouts and filters are Java's and have no effect"] if file is not None else []
    root = levels.get(ROOT, "INFO")
    level = levels.get("org.pytorch.serve", root)
    wanted = environment.get(LEVEL_VARIABLE, "").upper()
    if wanted in _LEVELS:
        level = root = wanted
    elif wanted:
        notes.append(f'{LEVEL_VARIABLE}: "{wanted}" is none of {", ".join(_LEVELS)}')
    format_, format_notes = _format(environment.get(FORMAT_VARIABLE, "text"))
    named = [environment.get(variable) or None for variable in (DIRECTORY_VARIABLE, METRICS_DIRECTORY_VARIABLE)]
    writes_files = look_alike or file is not None or any(named)
    places = [directory / mounts.real(name or DIRECTORY_DEFAULT) if writes_files else None for name in named]
    settings = LogSettings(
        format=format_,
        level=level,
        library_level=root,
        access=environment.get(ACCESS_LOG_VARIABLE, "on").lower() not in ("off", "false", "0") and _lets_info_through(levels, "ACCESS_LOG"),
        workers=_lets_info_through(levels, "MODEL_LOG"),
        server_metrics=_lets_info_through(levels, "TS_METRICS"),
        model_metrics=_lets_info_through(levels, "MODEL_METRICS"),
        directory=places[0],
        metrics_directory=places[1],
    )
    return settings, [*notes, *format_notes]


def _format(word: str) -> tuple[Format, list[str]]:
    if word == "json":
        return "json", []
    known = get_args(Format)
    return "text", [] if word in known else [f'{FORMAT_VARIABLE}: "{word}" is none of {", ".join(known)}']


def _lets_info_through(levels: Mapping[str, str], logger: str) -> bool:
    """Return whether a logger of TorchServe's writes lines of the level info, which all of its lines are."""
    return levels.get(logger, "INFO") in ("DEBUG", "INFO")
