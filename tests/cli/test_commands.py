"""Small commands, called as ``flambeau`` calls them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import orjson
import pytest

from flambeau.cli import main
from flambeau.cli.api import Api, ResourceType
from flambeau.cli.api_resources import api_resources
from flambeau.cli.target import Target

SERVICES = ResourceType(
    "serving.kserve.io", "v1beta1", "InferenceService", "inferenceservices", "inferenceservice", ("isvc",), True, ("get",), ()
)


def flambeau(monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    """Run the command line in this process; return its exit status."""
    monkeypatch.setattr("sys.argv", ["flambeau", *words])
    with pytest.raises(SystemExit) as ended:
        main.main()
    code = ended.value.code
    return code if isinstance(code, int) else 0


class OneKind(Target):
    """A server that has one kind."""

    @contextmanager
    def open(self) -> Iterator[Api]:
        yield SimpleNamespace(types=lambda: [SERVICES])  # type: ignore[misc]  # all that the command asks


def test_api_resources_for_scripts(capsys: pytest.CaptureFixture[str]) -> None:
    assert api_resources(output="name", target=OneKind()) == 0
    assert capsys.readouterr().out == "inferenceservices.serving.kserve.io\n"
    assert api_resources(output="json", target=OneKind()) == 0
    [resource] = orjson.loads(capsys.readouterr().out)
    assert (resource["apiVersion"], resource["kind"], resource["shortNames"]) == ("serving.kserve.io/v1beta1", "InferenceService", ["isvc"])
    assert api_resources(target=OneKind()) == 0
    assert capsys.readouterr().out.split()[:3] == ["NAME", "SHORTNAMES", "APIVERSION"]


def test_storage_test_is_a_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "weights").write_bytes(b"1234")
    assert flambeau(monkeypatch, "storage", "test", f"file://{tmp_path}") == 0
    assert "can be read: 1 files, 4 bytes" in capsys.readouterr().out
    assert flambeau(monkeypatch, "storage", "test", f"file://{tmp_path}/absent") == 1
    assert "hint: " in capsys.readouterr().err


def test_a_command_line_that_cannot_be_understood_is_one_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert flambeau(monkeypatch, "doctor", "--absent") == main.USAGE_STATUS
    assert capsys.readouterr().err == "error: Unknown option: --absent.\n"
    assert flambeau(monkeypatch, "gte") == main.USAGE_STATUS
    assert 'Did you mean "get"?' in capsys.readouterr().err


def test_a_home_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    words = [sys.executable, "-m", "flambeau", "up", "--home", str(tmp_path / "file" / "home")]
    ended = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
    assert (ended.returncode, "Traceback" in ended.stderr) == (1, False)
    assert f"cannot make the home {tmp_path}/file/home: Not a directory" in ended.stderr


def test_an_empty_cache_is_refused(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert flambeau(monkeypatch, "up", "--cache-gib", "0") == 2
    assert "--cache-gib" in capsys.readouterr().err
