from __future__ import annotations

from pathlib import Path

import pytest

from flambeau.foundation.errors import InvalidInput, NotFound
from flambeau.programs.settings.log4j import log4j_file_of, read_levels
from flambeau.programs.settings.logs import LogSettings, log_settings
from flambeau.programs.settings.mounts import Mounts
from flambeau.programs.settings.properties import PropertiesFile
from flambeau.programs.settings.sources import effective_values


def settings_of(directory: Path, environment: dict[str, str], *, log_config: str | None = None, look_alike: bool = False) -> LogSettings:
    values = effective_values(flags={}, environment={}, file=PropertiesFile({}, ()), file_name="")
    settings, _ = log_settings(values, environment, Mounts(), directory, log_config=log_config, look_alike=look_alike)
    return settings


def xml(directory: Path, *loggers: str) -> str:
    (directory / "log4j2.xml").write_text(f"<Configuration><Loggers>{''.join(loggers)}</Loggers></Configuration>")
    return "log4j2.xml"


@pytest.mark.parametrize(
    ("environment", "look_alike", "places"),
    [
        ({}, False, (None, None)),
        ({}, True, ("logs", "logs")),
        ({"LOG_LOCATION": "/var/log/ts"}, False, ("/var/log/ts", "logs")),
        ({"METRICS_LOCATION": "numbers"}, False, ("logs", "numbers")),
        ({"LOG_LOCATION": "a", "METRICS_LOCATION": "b"}, True, ("a", "b")),
    ],
)
def test_files_are_written_where_somebody_expects_them(
    tmp_path: Path, environment: dict[str, str], look_alike: bool, places: tuple[str | None, str | None]
) -> None:
    settings = settings_of(tmp_path, environment, look_alike=look_alike)
    wanted = [None if place is None else tmp_path / place for place in places]
    assert [settings.directory, settings.metrics_directory] == wanted


def test_words_of_the_environment(tmp_path: Path) -> None:
    settings = settings_of(tmp_path, {"FLAMBEAU_LOG_FORMAT": "json", "FLAMBEAU_LOG_LEVEL": "debug", "FLAMBEAU_ACCESS_LOG": "off"})
    assert (settings.format, settings.level, settings.library_level, settings.access) == ("json", "DEBUG", "DEBUG", False)
    values = effective_values(flags={}, environment={}, file=PropertiesFile({}, ()), file_name="")
    odd = {"FLAMBEAU_LOG_FORMAT": "xml", "FLAMBEAU_LOG_LEVEL": "loud"}
    settings, notes = log_settings(values, odd, Mounts(), tmp_path, log_config=None, look_alike=False)
    assert settings == LogSettings()
    assert [note.partition(":")[0] for note in notes] == ["FLAMBEAU_LOG_LEVEL", "FLAMBEAU_LOG_FORMAT"]


def test_levels_of_a_log4j_file(tmp_path: Path) -> None:
    file = xml(
        tmp_path,
        '<Logger name="org.pytorch.serve" level="debug"/>',
        '<AsyncLogger name="ACCESS_LOG" Level="ERROR"/>',
        '<Logger name="MODEL_LOG" level="all"/>',
        '<Logger name="TS_METRICS" level="off"/>',
        '<Logger name="odd" level="deafening"/>',
        '<Root level="warn"/>',
    )
    settings = settings_of(tmp_path, {}, log_config=file)
    assert (settings.level, settings.library_level) == ("DEBUG", "WARNING")
    assert (settings.access, settings.workers, settings.server_metrics, settings.model_metrics) == (False, True, False, True)
    assert settings.directory == tmp_path / "logs"
    assert settings_of(tmp_path, {"FLAMBEAU_LOG_LEVEL": "error"}, log_config=file).level == "ERROR"


BOMB = b"""<!DOCTYPE b [<!ENTITY a "aaaaaaaaaa"><!ENTITY c "&a;&a;&a;&a;">]><b>&c;</b>"""
OUTSIDE = b"""<!DOCTYPE b [<!ENTITY a SYSTEM "file:///etc/hostname">]><b>&a;</b>"""


@pytest.mark.parametrize("text", [b"", b"<a", b"no xml", BOMB, OUTSIDE, BOMB.decode().encode("utf-16"), b"\xff\xfe\x00"])
def test_what_is_no_log4j_file_is_refused(tmp_path: Path, text: bytes) -> None:
    (tmp_path / "x.xml").write_bytes(text)
    with pytest.raises(InvalidInput, match=r"cannot read --log-config .*x\.xml: "):
        read_levels(tmp_path / "x.xml", source="--log-config")


def test_a_log4j_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="--log-config not found"):
        settings_of(tmp_path, {}, log_config="gone.xml")


@pytest.mark.parametrize(
    ("vmargs", "file"),
    [
        ("", None),
        ("-Xmx4g", None),
        ("-Dlog4j.configurationFile=file:///a/b%20c.xml -Xmx1g", "/a/b c.xml"),
        ("-Xmx1g -Dlog4j2.configurationFile=conf/x.xml", "conf/x.xml"),
    ],
)
def test_the_file_in_vmargs(vmargs: str, file: str | None) -> None:
    assert log4j_file_of(vmargs) == file
