from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

import pytest

import flambeau
from flambeau.serving.archive.export_steps import ModelExportUtils
from flambeau.serving.archive.model_archiver import (
    ModelArchiverConfig,
    ModelArchiverError,
    generate_model_archive,
    package_model,
    parse_arguments,
)
from flambeau.serving.archive.unpack import unpack

PATH_FILE = Path(__file__).parents[2] / "packaging" / "flambeau-torchserve.pth"
USERS_SCRIPT = """\
import sys, site
site.addsitedir(sys.argv[1])
from model_archiver import ModelArchiver, ModelArchiverConfig
from model_archiver.model_archiver import ModelArchiver as Same
from model_archiver.model_archiver_error import ModelArchiverError
from model_archiver.model_packaging import generate_model_archive

config = ModelArchiverConfig(model_name="m", handler="h.py", version="2", extra_files="a.txt,b.txt", archive_format="no-archive")
ModelArchiver.generate_model_archive(config)
assert Same is ModelArchiver
try:
    generate_model_archive(config)
except ModelArchiverError as error:
    print(error)
"""


@pytest.fixture
def site_packages(tmp_path: Path) -> Path:
    """Lay a folder out as an installed wheel does."""
    folder = tmp_path / "site-packages"
    folder.mkdir()
    (folder / "flambeau").symlink_to(Path(flambeau.__file__).parent)
    (folder / PATH_FILE.name).write_text(PATH_FILE.read_text())
    return folder


def script(text: str, site_packages: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-c", text, str(site_packages)], cwd=site_packages.parent, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_users_build_script_runs(site_packages: Path) -> None:
    work = site_packages.parent
    for name in ("h.py", "a.txt", "b.txt"):
        (work / name).write_text("")
    assert script(USERS_SCRIPT, site_packages).startswith(f"{work}/m exists already")
    assert unpack(work / "m", work).manifest.model_version == "2"
    assert (work / "m" / "b.txt").is_file()


def test_the_real_packages_win(site_packages: Path) -> None:
    for name in ("model_archiver", "ts"):
        (site_packages / name).mkdir()
        (site_packages / name / "__init__.py").write_text("real = True\n")
    find = "import site, sys; site.addsitedir(sys.argv[1]); import model_archiver, ts; print(model_archiver.real, ts.real)"
    assert script(find, site_packages) == "True True\n"


@pytest.mark.parametrize(
    ("changed", "error"),
    [
        ({"model_name": "a b"}, ModelArchiverError),
        ({"export_path": "gone"}, ModelArchiverError),
        ({"handler": "gone.py"}, FileNotFoundError),
        ({"extra_files": "gone.txt"}, FileNotFoundError),
    ],
)
def test_errors_are_the_originals(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changed: dict[str, str], error: type[Exception]) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "h.py").touch()
    given = {"model_name": "m", "handler": "h.py", "version": "1"} | changed
    with pytest.raises(error):
        generate_model_archive(ModelArchiverConfig(**given))  # type: ignore[arg-type]  # texts all
    assert not (tmp_path / "m.mar").exists()


def test_a_script_can_hand_its_own_command_line_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "h.py").touch()
    monkeypatch.setattr(sys, "argv", ["build.py", "--model-name", "m", "-v", "3", "--handler", "h.py", "--archive-format", "no-archive"])
    generate_model_archive()
    assert unpack(tmp_path / "m", tmp_path).manifest.model_version == "3"


def test_the_steps_one_by_one_make_the_archive(tmp_path: Path) -> None:
    (tmp_path / "h.py").touch()
    arguments = parse_arguments(["--model-name", "m", "-v", "4", "--handler", str(tmp_path / "h.py"), "--export-path", str(tmp_path)])
    ModelExportUtils.validate_inputs(arguments.model_name, arguments.export_path)
    document = json.loads(ModelExportUtils.generate_manifest_json(arguments))
    assert document["model"] == {"modelName": "m", "handler": "h.py", "modelVersion": "4"}
    package_model(argparse.Namespace(**vars(arguments)), json.dumps({**document, "description": "kept"}))
    assert unpack(tmp_path / "m.mar", tmp_path / "root").manifest.description == "kept"
    with pytest.raises(ModelArchiverError, match="already exists"):
        ModelExportUtils.check_mar_already_exists("m", str(tmp_path), False)
    with pytest.raises(ModelArchiverError, match="special characters"):
        ModelExportUtils.validate_inputs("a b", str(tmp_path))
