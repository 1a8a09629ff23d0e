"""What doctor says about Dockerfiles, shell scripts and manifests: lines that rest on TorchServe's package or on Java. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass

from flambeau.programs.doctor.findings import Finding, Level, Row

NAMES = re.compile(r"^(Dockerfile.*|.*\.Dockerfile|Makefile|Procfile|.*\.(sh|bash|ya?ml|service|toml|txt|cfg|ini))$", re.IGNORECASE)
"""Files whose lines are looked at."""
CHARACTERS_MAX = 1_048_576
"""A longer script is cut."""


@dataclass(frozen=True, slots=True)
class _Rule:
    pattern: re.Pattern[str]
    level: Level
    text: str
    hint: str = ""
    row: Row | None = None


def _rule(pattern: str, level: Level, text: str, hint: str = "", row: Row | None = None) -> _Rule:
    return _Rule(re.compile(pattern), level, text, hint, row)


_RULES = (
    _rule(
        r"^\s*FROM\s+(\S*/)?torchserve\S*",
        Level.CHANGE,
        "is built on TorchServe's image",
        "build on python:3.12-slim and `pip install flambeau[vision]`; the commands keep their names",
        Row.PACKAGE,
    ),
    _rule(
        r"(pip|uv|conda)\b.*\binstall\b.*(?<![\w-])(torchserve|torch-model-archiver|torch-workflow-archiver)\b",
        Level.CHANGE,
        "installs TorchServe's packages",
        "install flambeau: it brings the commands torchserve, torch-model-archiver and torch-workflow-archiver",
        Row.PACKAGE,
    ),
    _rule(
        r"^\s*(torchserve|torch-model-archiver|torch-workflow-archiver)\s*([=<>~!;\[#].*)?$",
        Level.CHANGE,
        "requires TorchServe's package",
        "require flambeau",
        Row.PACKAGE,
    ),
    _rule(r"image:\s*\S*torchserve", Level.UNCHANGED, "names TorchServe's image, which the platform runs as its own model server"),
    _rule(r"openjdk|default-jre|default-jdk|JAVA_HOME", Level.ADVICE, "sets Java up, which nothing needs any more", "remove it", Row.JAVA),
    _rule(
        r"org\.pytorch\.serve|\b(pkill|killall|pgrep|pidof|jps|jstack|jmap)\b.*\bjava\b|\bjps\b",
        Level.CHANGE,
        "looks for TorchServe's Java process, which there is none of",
        "stop it with `torchserve --stop`, watch it at /ping and /metrics",
        Row.JAVA,
    ),
    _rule(r"torchserve\b.*--(plugins-path|ppath)", Level.CHANGE, "loads Java plug-ins", "remove the flag", Row.PLUGINS),
    _rule(
        r"torchserve\b.*--(log-config|cpp-log-config)|log4j",
        Level.DIFFERS,
        "configures log4j: levels count, layouts and appenders have no effect",
        "it may stay",
        Row.WITHOUT_EFFECT,
    ),
    _rule(r"vmargs|-Xm[xs]\d", Level.DIFFERS, "sets arguments of the Java machine: no effect", "it may stay", Row.WITHOUT_EFFECT),
    _rule(
        r"torchserve\b.*--start\b.*(?:&&|;)\s*(sleep\s+\d+|tail\s+-f)",
        Level.ADVICE,
        "waits after the start",
        "`torchserve --start` returns when the doors are open, `flambeau serve` stays in the foreground",
        Row.START_FAILURE,
    ),
)


def examine_script(text: str, place: str) -> list[Finding]:
    """Return what is to be said about a script's lines; ends with the commands that run unchanged."""
    findings = []
    commands: set[str] = set()
    for number, line in enumerate(text[:CHARACTERS_MAX].splitlines(), 1):
        if line.lstrip().startswith("#"):
            continue
        for rule in _RULES:
            if rule.pattern.search(line):
                findings.append(Finding(rule.level, f"{place} line {number}", f"{rule.text}: {line.strip()[:100]}", rule.hint, rule.row))
        commands |= set(re.findall(r"(?:^|[\s;&|(\"'])(torchserve|torch-model-archiver|torch-workflow-archiver)\s+-", line))
    findings += [Finding(Level.UNCHANGED, place, f"the command {command} is there with all its flags") for command in sorted(commands)]
    return findings
