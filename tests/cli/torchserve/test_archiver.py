from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from flambeau.cli.archive import archive
from flambeau.cli.torchserve.archiver import main
from flambeau.serving.archive.unpack import unpack


@pytest.fixture
def handler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my_handler.py").write_text("def handle(data, context): return data\n")
    return "my_handler.py"


def archiver(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the console script as a user does."""
    command = str(Path(sys.executable).with_name("torch-model-archiver"))
    return subprocess.run([command, *arguments], capture_output=True, text=True, timeout=60, check=False)


def test_success_is_silent(handler: str, tmp_path: Path) -> None:
    done = archiver("--model-name", "m", "-v", "1.0", "--handler", handler, "--export-path", str(tmp_path))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert unpack(tmp_path / "m.mar", tmp_path / "root").manifest.handler == handler


def test_an_existing_archive_ends_with_one(handler: str, tmp_path: Path) -> None:
    (tmp_path / "m.mar").write_bytes(b"mine")
    arguments = ("--model-name", "m", "--version", "1.0", "--handler", handler)
    done = archiver(*arguments)
    assert done.returncode == 1
    assert done.stderr.startswith("ERROR - m.mar exists already")
    assert "Traceback" not in done.stderr
    assert (tmp_path / "m.mar").read_bytes() == b"mine"
    forced = archiver(*arguments, "-f")
    assert (forced.returncode, forced.stderr) == (0, "WARNING - Overwriting m.mar ...\n")


def test_a_command_line_that_is_wrong_ends_with_two(handler: str) -> None:
    done = archiver("--version", "1.0", "--handler", handler)
    assert done.returncode == 2
    assert done.stderr.startswith("usage: torch-model-archiver")
    assert "--model-name" in done.stderr


@pytest.mark.parametrize("wrong", [["--runtime", "java"], ["--archive-format", "rar"], ["--unknown"], ["--version"]])
def test_argparse_refuses(handler: str, wrong: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["--model-name", "m", "--version", "1.0", "--handler", handler, *wrong])
    assert caught.value.code == 2
    assert "usage:" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (["--model-name", "a/b"], "model name 'a/b' is not allowed"),
        (["--handler", "gone"], "File does not exist: gone.py"),
        (["--serialized-file", "gone.pt"], "File does not exist: gone.pt"),
        (["--model-file", "gone.py"], "File does not exist: gone.py"),
        (["--requirements-file", "gone.txt"], "File does not exist: gone.txt"),
        (["--config-file", "gone.yaml"], "File does not exist: gone.yaml"),
        (["--extra-files", "gone.json"], "File does not exist: gone.json"),
        (["--export-path", "gone"], "export path gone is not a folder"),
    ],
)
def test_everything_else_ends_with_one(handler: str, wrong: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--model-name", "m", "--version", "1.0", "--handler", handler, *wrong]) == 1
    assert f"ERROR - {message}" in capsys.readouterr().err


def test_flags_can_be_shortened_and_lists_have_commas(handler: str, tmp_path: Path) -> None:
    for name in ("a.json", "b.txt"):
        (tmp_path / name).write_text("{}")
    assert main(["--model-n", "m", "--ver", "1.0", "--han", handler, "--extra", "a.json, b.txt", "--archive", "no-archive"]) == 0
    assert sorted(path.name for path in (tmp_path / "m").iterdir()) == ["MAR-INF", "a.json", "b.txt", handler]


def test_our_own_command_says_what_it_wrote(handler: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    archive(model_name="m", handler=handler)
    size = (tmp_path / "m.mar").stat().st_size
    assert capsys.readouterr().out == f"wrote m.mar ({size:,} bytes)\n"
