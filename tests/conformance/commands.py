"""Run a case's commands in a folder of their own; tell how they ended, what they said and what they wrote."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import signal
import subprocess
import tarfile
import zipfile
from pathlib import Path
from typing import IO, Any

from tests.conformance.case import Case
from tests.conformance.servers import Server

COMMAND_SECONDS_MAX = 60.0
"""A command that runs longer counts as one that stays."""


def run(server: Server, case: Case) -> dict[str, Any]:
    """Run every line of ``run`` and return how each ended, and what ``look`` names.

    Args:
        server: whose side's commands are run, beside it.
        case: with ``files`` to write first (null: a folder), and perhaps ``seconds`` for commands that may stay.
    """
    folder = server.home / "run" / case.id.replace("/", "-")
    folder.mkdir(parents=True)
    for name, text in case.ask.get("files", {}).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        if text is None:
            (folder / name).mkdir()
        else:
            (folder / name).write_text(server.fill_in(text))
    seconds = case.ask.get("seconds", COMMAND_SECONDS_MAX)
    lines = [shlex.split(server.fill_in(line)) for line in case.ask["run"].strip().splitlines()]
    ends = [_ended(server, line, folder, Path(f"{folder}.{index}"), seconds) for index, line in enumerate(lines)]
    answer: dict[str, Any] = ends[0] if len(ends) == 1 else {"answers": ends}
    if "look" in case.ask:
        answer["files"] = {name: _looked_at(folder / name) for name in case.ask["look"]}
    return answer


def _ended(server: Server, command: list[str], folder: Path, said: Path, seconds: float) -> dict[str, Any]:
    """Run one command; its output goes to files of its own, for a server that stays behind goes on writing."""
    scratch = folder.with_suffix(".tmp")  # apart: the original packs in there, and keeps its pid file there
    scratch.mkdir(exist_ok=True)
    environment = {**server.environment(), "TMPDIR": str(scratch), "TEMP": str(scratch)}
    with open(f"{said}.stdout", "w+") as output, open(f"{said}.stderr", "w+") as errors:
        process = subprocess.Popen(
            [str(server.side.bin / command[0]), *command[1:]],
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=errors,
            start_new_session=True,
        )
        try:
            status: int | str = process.wait(seconds)
        except subprocess.TimeoutExpired:
            status = "it stays"
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        return {"exit": status, "stdout": _last_line(output), "stderr": _last_line(errors)}


def _last_line(stream: IO[str]) -> str:
    stream.seek(0)
    lines = [line for line in stream.read().strip().splitlines() if line.strip()]
    return lines[-1] if lines else ""


def _looked_at(path: Path) -> Any:
    """Return what a file or folder is: an archive's entries and manifest, a folder's files, a text."""
    if path.is_dir():
        files = {str(each.relative_to(path)): each.read_text() for each in sorted(path.rglob("*")) if each.is_file()}
    elif zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            files = {entry.filename: archive.read(entry).decode() for entry in archive.infolist()}
            is_stored = all(entry.compress_type == zipfile.ZIP_STORED for entry in archive.infolist())
            return {"is stored": is_stored, **_with_manifest(files)}
    elif path.exists() and tarfile.is_tarfile(path):
        with tarfile.open(path) as archive:
            files = {member.name: archive.extractfile(member).read().decode() for member in archive if member.isfile()}  # type: ignore[union-attr]  # files only
    else:
        return path.read_text() if path.exists() else None
    return _with_manifest(files)


def _with_manifest(files: dict[str, str]) -> dict[str, Any]:
    """Return contents by name; a manifest stays a text, for the order of its keys is compared too, without its time."""
    return {
        name: re.sub(r'("createdOn": ")[^"]*', r"\1<time>", json.dumps(json.loads(text))) if name.endswith("MANIFEST.json") else text
        for name, text in sorted(files.items())
    }
