"""Every flag's help shows how the flag is written."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable
from types import ModuleType
from typing import Any

import cyclopts
import pytest

from flambeau.cli import archive, bench, doctor, serve, try_handler, up
from flambeau.cli.torchserve import server, workflow_archiver
from flambeau.serving.archive import model_archiver

ALIASES = {"--no-config-snapshots", "--disable-token-auth", "--namespace"}
"""Their short names stand in the examples."""


@pytest.mark.parametrize("module", [server, model_archiver, workflow_archiver], ids=lambda module: module.__name__)
def test_of_the_old_commands(module: ModuleType) -> None:
    parser: argparse.ArgumentParser = module.parser()
    for action in parser._actions:
        if action.help in (None, argparse.SUPPRESS) or "--help" in action.option_strings:
            continue
        assert any(re.search(rf"such as .*{option}\b", str(action.help)) for option in action.option_strings), action.option_strings
    assert "Example: " in parser.format_help()


@pytest.mark.parametrize("command", [serve.serve, archive.archive, bench.bench, doctor.doctor, try_handler.try_handler, up.up])
def test_of_our_own_commands(command: Callable[..., Any], capsys: pytest.CaptureFixture[str]) -> None:
    cyclopts.App(name="flambeau", default_command=command).help_print([])
    shown = " ".join(re.sub(r"[│╭╮╰╯─]", " ", capsys.readouterr().out).split())
    # The names of a flag stand before its text; what is hidden has none.
    flags = {flag for flag in re.findall(r"--[a-z][a-z_-]+", shown) if "_" not in flag and not flag.startswith(("--help", "--version"))}
    without = {flag for flag in flags if not re.search(rf"such as [^.]*{flag}\b", shown)}
    assert flags
    assert without <= ALIASES
