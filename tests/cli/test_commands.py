"""Small commands, called as ``flambeau`` calls them."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import orjson
import pytest

from flambeau.cli import main
from flambeau.cli.api import Api, ResourceType
from flambeau.cli.api_resources import api_resources
from flambeau.cli.describe import describe
from flambeau.cli.target import Target
from flambeau.foundation.timestamps import rfc3339

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
    """A server that has one kind, one object of it and one event about that."""

    @contextmanager
    def open(self) -> Iterator[Api]:
        found = {"metadata": {"name": "mnist", "namespace": "ns"}}
        seen = rfc3339(time.time() - 3 * 3600 - 60)
        event = {"type": "Normal", "reason": "Ready", "lastTimestamp": seen, "metadata": {"name": "e"}, "message": "is ready"}
        yield SimpleNamespace(  # type: ignore[misc]  # all that the commands ask
            types=lambda: [SERVICES],
            namespace="ns",
            type_named=lambda name: SERVICES,
            get=lambda path, query=None: {"items": [event] if query else [found]},
        )


def test_describe_tells_ages_as_kubectl_does(capsys: pytest.CaptureFixture[str]) -> None:
    assert describe("isvc", target=OneKind()) == 0
    assert capsys.readouterr().out.splitlines()[-1].split() == ["Normal", "Ready", "3h1m", "is", "ready"]


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
