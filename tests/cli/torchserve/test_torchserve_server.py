from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from pathlib import Path

import psutil
import pytest

from flambeau.cli.torchserve import server
from tests.fixtures.archives import ECHO, write_mar

CONFIG = "inference_address={0}\nmanagement_address={0}\nmetrics_address={0}\ndefault_workers_per_model=1\n".format("http://127.0.0.1:0")


def torchserve(root: Path, *arguments: str, environment: dict[str, str] | None = None) -> tuple[int, str]:
    """Run the command with its output in a file: a pipe would wait for the server that it leaves behind."""
    temporary = root / "tmp"
    temporary.mkdir(exist_ok=True)
    with tempfile.TemporaryFile("w+", dir=root) as out:
        finished = subprocess.run(
            [sys.executable, "-m", "flambeau.cli.torchserve.server", *arguments],
            cwd=root,
            env={**os.environ, "TMPDIR": str(temporary), **(environment or {})},
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            timeout=60,
            check=False,
        )
        out.seek(0)
        return finished.returncode, out.read()


def test_start_waits_for_the_doors_and_stop_for_the_end(tmp_path: Path) -> None:
    write_mar(tmp_path / "store", "echo", ECHO)
    (tmp_path / "config.properties").write_text(CONFIG)
    pid_file = tmp_path / "tmp" / ".model_server.pid"
    try:
        status, told = torchserve(tmp_path, "--start", "--model-store", "store", "--models", "echo=echo.mar", "--ncs", "--dt")
        assert status == 0, told
        url = told.partition("door open address=")[2].split()[0]
        with urllib.request.urlopen(f"{url}/v2/health/live", timeout=10) as answer:
            assert answer.status == 200
        process = psutil.Process(int(pid_file.read_text()))
        family = [process, *process.children(recursive=True)]

        status, told = torchserve(tmp_path, "--start", "--model-store", "store")
        assert (status, told) == (1, "TorchServe is already running, please use torchserve --stop to stop TorchServe.\n")

        status, told = torchserve(tmp_path, "--stop")
        assert (status, told) == (0, "TorchServe has stopped.\n")
        assert not any(each.is_running() for each in family)
        assert not pid_file.exists()
        logged = (tmp_path / "logs" / "ts_log.log").read_text()
        assert "door open" in logged
        assert "stopping" in logged
        with pytest.raises(urllib.error.URLError):
            urllib.request.urlopen(url, timeout=5)
    finally:
        torchserve(tmp_path, "--stop")


def test_stop_without_a_server(tmp_path: Path) -> None:
    assert torchserve(tmp_path, "--stop") == (0, "TorchServe is not currently running.\n")


def test_a_pid_file_of_somebody_else_is_removed(tmp_path: Path) -> None:
    (tmp_path / "tmp").mkdir()
    pid_file = tmp_path / "tmp" / ".model_server.pid"
    for content in (str(os.getpid()), "nonsense", "999999999"):
        pid_file.write_text(content)
        assert torchserve(tmp_path, "--stop") == (0, "Removing orphan pid file.\nTorchServe is not currently running.\n")
        assert not pid_file.exists()


@pytest.mark.parametrize(
    ("arguments", "status", "why"),
    [
        (["--start"], 1, "Missing mandatory parameter --model-store"),
        (["--start", "--model-store", "nope"], 1, "--model-store directory not found: nope"),
        (["--model-store", ".", "--ts-config", "nope"], 1, "--ts-config file not found: nope"),
        (["--model-store", ".", "--log-config", "nope"], 1, "--log-config file not found: nope"),
        (["--model-store", ".", "--models", "gone.mar"], 1, "cannot load model gone.mar"),
        (["--start", "--stop"], 2, "not allowed with argument"),
        (["--nonsense"], 2, "unrecognized arguments"),
    ],
)
def test_a_failed_start_says_why_and_fails(tmp_path: Path, arguments: list[str], status: int, why: str) -> None:
    found, told = torchserve(tmp_path, *arguments)
    assert found == status
    assert why in told
    assert not (tmp_path / "tmp" / ".model_server.pid").exists()


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert server.run(["--version"]) == 0
    assert capsys.readouterr().out == "TorchServe Version is 0.12.0\n"


def test_a_temporary_directory_that_is_not_there_is_told(tmp_path: Path) -> None:
    status, told = torchserve(tmp_path, "--start", "--model-store", ".", environment={"TEMP": "/nowhere"})
    assert (status, told) == (1, "Invalid temp directory: /nowhere (TEMP environment variable).\n")
