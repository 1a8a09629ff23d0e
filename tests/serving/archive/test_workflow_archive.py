from __future__ import annotations

import json
import stat
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from flambeau.foundation.errors import Conflict, InvalidInput, NotFound, TooLarge
from flambeau.foundation.unpack_guard import UnpackLimits
from flambeau.serving.archive.workflow import (
    WORKFLOW_MANIFEST_NAME,
    WorkflowArchiveRequest,
    WorkflowManifest,
    pack_workflow,
    parse_workflow_manifest,
    unpack_workflow,
)

MANIFEST = json.dumps({"workflow": {"workflowName": "w", "specFile": "w.yaml", "handler": "w.py"}})


@pytest.fixture
def request_of(tmp_path: Path) -> Callable[..., WorkflowArchiveRequest]:
    for name in ("w.yaml", "w.py", "labels.json"):
        (tmp_path / name).write_text(f"# {name}\n")

    def make(**changed: object) -> WorkflowArchiveRequest:
        given = {"workflow_name": "w", "spec_file": tmp_path / "w.yaml", "handler": tmp_path / "w.py", "export_path": tmp_path}
        return WorkflowArchiveRequest(**(given | changed))  # type: ignore[arg-type]  # a table's values

    return make


def test_what_is_packed_comes_out_again(request_of: Callable[..., WorkflowArchiveRequest], tmp_path: Path) -> None:
    written = pack_workflow(request_of(extra_files=(tmp_path / "labels.json",)))
    assert written == tmp_path / "w.war"
    with zipfile.ZipFile(written) as archive:
        names = archive.namelist()
        manifest = json.loads(archive.read(WORKFLOW_MANIFEST_NAME))
    assert names == ["labels.json", "w.py", "w.yaml", WORKFLOW_MANIFEST_NAME]
    assert list(manifest) == ["createdOn", "workflow", "archiverVersion"]
    assert manifest["workflow"] == {"workflowName": "w", "specFile": "w.yaml", "handler": "w.py"}
    unpacked = unpack_workflow(written, tmp_path / "root")
    assert unpacked.manifest == WorkflowManifest("w", "w.yaml", "w.py")
    assert (unpacked.directory / "labels.json").read_text() == "# labels.json\n"


def test_an_archive_is_overwritten_only_by_force(request_of: Callable[..., WorkflowArchiveRequest], tmp_path: Path) -> None:
    (tmp_path / "w.war").write_bytes(b"mine")
    with pytest.raises(Conflict, match=r"w\.war exists already"):
        pack_workflow(request_of())
    assert (tmp_path / "w.war").read_bytes() == b"mine"
    assert zipfile.is_zipfile(pack_workflow(request_of(force=True)))


@pytest.mark.parametrize(
    ("changed", "error"),
    [
        ({"workflow_name": "a/b"}, InvalidInput),
        ({"workflow_name": ""}, InvalidInput),
        ({"spec_file": Path("gone.yaml")}, NotFound),
        ({"handler": Path("gone.py")}, NotFound),
        ({"extra_files": (Path("gone"),)}, NotFound),
        ({"export_path": Path("gone")}, NotFound),
    ],
)
def test_nothing_is_written_after_an_error(
    request_of: Callable[..., WorkflowArchiveRequest], tmp_path: Path, changed: dict[str, object], error: type[Exception]
) -> None:
    wanted = request_of(**changed)
    before = sorted(tmp_path.iterdir())
    with pytest.raises(error):
        pack_workflow(wanted)
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"{", "is not JSON"),
        (b"[" * 100_000, "is not JSON"),
        (b"[]", "Missing Workflow entry"),
        (b"{}", "Missing Workflow entry"),
        (b'{"workflow": 1}', "Missing Workflow entry"),
        (b'{"workflow": {"specFile": "s"}}', "Workflow name is not defined"),
        (b'{"workflow": {"workflowName": "w"}}', "no specFile"),
        (b'{"workflow": {"workflowName": 1, "specFile": "s"}}', "must be a text, not int"),
        (b'{"workflow": {"workflowName": "w", "specFile": "../s"}}', "inside the archive"),
        (b'{"workflow": {"workflowName": "w", "specFile": "s", "handler": "/etc/passwd"}}', "inside the archive"),
    ],
)
def test_a_manifest_that_is_wrong_says_how(content: bytes, why: str) -> None:
    with pytest.raises(InvalidInput, match=why):
        parse_workflow_manifest(content, "w.war")


def hostile(path: Path, *entries: tuple[str, str], link: str | None = None, manifest: str = MANIFEST) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in entries:
            archive.writestr(name, text)
        if link is not None:
            info = zipfile.ZipInfo(link)
            info.external_attr = (stat.S_IFLNK | 0o777) << 16
            archive.writestr(info, "/etc/passwd")
        archive.writestr(WORKFLOW_MANIFEST_NAME, manifest)
    return path


GOOD = (("w.yaml", "models: {}"), ("w.py", ""))


@pytest.mark.parametrize(
    ("entries", "link", "why"),
    [
        ((*GOOD, ("../outside", "x")), None, "unsafe path"),
        ((*GOOD, ("/absolute", "x")), None, "unsafe path"),
        (GOOD, "w.txt", "holds the link"),
        ((("w.yaml", ""), ("W.YAML", ""), ("w.py", "")), None, "one file on some systems"),
        ((("w.yaml", ""),), None, r"names w\.py, but does not hold it"),
        ((("w.py", ""),), None, r"names w\.yaml, but does not hold it"),
    ],
)
def test_a_hostile_archive_leaves_no_trace(tmp_path: Path, entries: tuple[tuple[str, str], ...], link: str | None, why: str) -> None:
    root = tmp_path / "root"
    with pytest.raises(InvalidInput, match=why):
        unpack_workflow(hostile(tmp_path / "w.war", *entries, link=link), root)
    assert list(root.iterdir()) == []
    assert not (tmp_path / "outside").exists()


def test_a_bomb_is_refused(tmp_path: Path) -> None:
    limits = UnpackLimits(ratio_free_bytes=1_000, ratio_max=10)
    with pytest.raises(TooLarge):
        unpack_workflow(hostile(tmp_path / "w.war", *GOOD, ("big", "0" * 1_000_000)), tmp_path / "root", limits)


def test_a_model_archive_is_no_workflow(tmp_path: Path) -> None:
    path = tmp_path / "m.mar"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("MAR-INF/MANIFEST.json", "{}")
    with pytest.raises(InvalidInput, match=r"m\.mar is no workflow archive"):
        unpack_workflow(path, tmp_path / "root")
