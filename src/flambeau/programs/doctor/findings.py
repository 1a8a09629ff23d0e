"""What doctor finds. Pure data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

COMPATIBILITY = "docs/compatibility.md"
"""Where rows stand."""


class Level(StrEnum):
    """What a finding asks for."""

    CHANGE = "change"
    """It will not run, or not as before, until something is changed."""
    DIFFERS = "differs"
    """It runs, and something is different on purpose."""
    ADVICE = "advice"
    """It runs as before, and could run better."""
    UNCHANGED = "unchanged"


class Row(StrEnum):
    """Topic of a row in docs/compatibility.md, which says why something differs."""

    JAVA = "Java"
    PROTOCOLS = "V1 and V2"
    TORCH_LOAD = "`torch.load`"
    REMARKS = "trailing `# remarks` after a value in config.properties"
    UNKNOWN_KEY = "unknown key in config.properties"
    SHARED_ADDRESS = "shared inference and management address"
    ARCHIVES = "archives"
    START_FAILURE = "start-up failure (bad config, missing archive, port in use)"
    WITHOUT_EFFECT = "settings without effect"
    PLUGINS = "plug-ins"
    CPP_BACKEND = "C++ backend"
    PACKAGE = "package and image"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing about a set-up."""

    level: Level
    place: str
    """``config.properties line 3``, ``mnist.mar: mnist_handler.py:12``."""
    text: str
    hint: str = ""
    """What to do; empty where there is nothing to be done."""
    row: Row | None = None


@dataclass(frozen=True, slots=True)
class Report:
    """Everything that was found below a path."""

    path: str
    findings: Sequence[Finding]

    @property
    def counts(self) -> dict[str, int]:
        """How many findings there are of each level."""
        return {level.value: sum(finding.level is level for finding in self.findings) for level in Level}

    @property
    def is_ready(self) -> bool:
        """Whether nothing has to change."""
        return not self.counts[Level.CHANGE]
