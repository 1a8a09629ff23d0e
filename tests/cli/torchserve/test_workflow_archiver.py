from __future__ import annotations

from pathlib import Path

import pytest

from flambeau.cli.torchserve.workflow_archiver import main
from flambeau.serving.archive.workflow import unpack_workflow


@pytest.fixture(autouse=True)
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("w.yaml", "w.py", "a.txt", "b.txt"):
        (tmp_path / name).write_text(name)


GOOD = ["--workflow-name", "w", "--spec-file", "w.yaml", "--handler", "w.py"]


def test_success_is_silent(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*GOOD, "--extra-files", "a.txt, b.txt"]) == 0
    assert capsys.readouterr() == ("", "")
    unpacked = unpack_workflow(tmp_path / "w.war", tmp_path / "root")
    assert sorted(path.name for path in unpacked.directory.iterdir()) == ["WAR-INF", "a.txt", "b.txt", "w.py", "w.yaml"]


def test_an_existing_archive_is_overwritten_by_force_alone(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(GOOD) == 0
    assert main(GOOD) == 1
    assert capsys.readouterr().err.startswith("ERROR - w.war exists already")
    assert main([*GOOD, "-f"]) == 0


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (["--workflow-name", "a b"], "workflow name 'a b' is not allowed"),
        (["--spec-file", "gone.yaml"], "File does not exist: gone.yaml"),
        (["--handler", "gone.py"], "File does not exist: gone.py"),
        (["--extra-files", "a.txt,gone.txt"], "File does not exist: gone.txt"),
        (["--export-path", "gone"], "export path gone is not a folder"),
    ],
)
def test_what_is_not_there_ends_with_one(wrong: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*GOOD, *wrong]) == 1
    assert f"ERROR - {message}" in capsys.readouterr().err


@pytest.mark.parametrize("missing", ["--workflow-name", "--spec-file", "--handler"])
def test_what_is_required_is_named(missing: str, capsys: pytest.CaptureFixture[str]) -> None:
    place = GOOD.index(missing)
    with pytest.raises(SystemExit) as caught:
        main(GOOD[:place] + GOOD[place + 2 :])
    assert caught.value.code == 2
    assert missing in capsys.readouterr().err
