from __future__ import annotations

import dataclasses
import json
import tarfile
import time
import zipfile
from pathlib import Path
from typing import Any

import pytest

from flambeau.foundation.errors import Conflict, InvalidInput, NotFound
from flambeau.serving.archive.pack import ArchiveFormat, ArchiveRequest, handler_file, pack
from flambeau.serving.archive.unpack import unpack


def request_for(folder: Path, **changes: Any) -> ArchiveRequest:
    request = ArchiveRequest(
        model_name="small",
        version="2.0",
        handler=str(folder / "handler.py"),
        serialized_file=folder / "weights.pt",
        model_file=folder / "net.py",
        extra_files=(str(folder / "extra"), str(folder / "*.json")),
        requirements_file=folder / "requirements.txt",
        config_file=folder / "model-config.yaml",
        export_path=folder.parent,
    )
    return dataclasses.replace(request, **changes)


EXPECTED = {
    ".hidden": b"kept",
    "a.json": b"{}",
    "b.json": b"[]",
    "handler.py": b"def handle(data, context):\n    return data\n",
    "model-config.yaml": b"minWorkers: 1\n",
    "nested/inner.txt": b"nested",
    "net.py": b"class Net: ...\n",
    "requirements.txt": b"numpy\n",
    "weights.pt": bytes(range(256)) * 40,
}


@pytest.mark.parametrize(
    ("archive_format", "name"), [("default", "small.mar"), ("zip-store", "small.mar"), ("tgz", "small.tar.gz"), ("no-archive", "small")]
)
def test_every_format_comes_back_whole(model_files: Path, archive_format: ArchiveFormat, name: str) -> None:
    written = pack(request_for(model_files, archive_format=archive_format))
    assert written == model_files.parent / name

    unpacked = unpack(written, model_files.parent / "unpacked")

    found = {path.relative_to(unpacked.directory).as_posix(): path for path in unpacked.directory.rglob("*") if path.is_file()}
    assert found.pop("MAR-INF/MANIFEST.json")
    assert {key: path.read_bytes() for key, path in found.items()} == EXPECTED
    manifest = unpacked.manifest
    assert (manifest.model_name, manifest.model_version, manifest.handler) == ("small", "2.0", "handler.py")
    assert (manifest.serialized_file, manifest.model_file) == ("weights.pt", "net.py")
    assert (manifest.requirements_file, manifest.config_file) == ("requirements.txt", "model-config.yaml")


def test_the_manifest_has_the_original_keys_in_order_and_comes_last(model_files: Path) -> None:
    with zipfile.ZipFile(pack(request_for(model_files))) as archive:
        assert archive.namelist()[-1] == "MAR-INF/MANIFEST.json"
        document = json.loads(archive.read("MAR-INF/MANIFEST.json"))
    assert list(document) == ["createdOn", "runtime", "model", "archiverVersion"]
    assert list(document["model"]) == [
        "modelName",
        "serializedFile",
        "handler",
        "modelFile",
        "modelVersion",
        "requirementsFile",
        "configFile",
    ]


def test_compression_follows_the_format(model_files: Path) -> None:
    for archive_format, method in (("default", zipfile.ZIP_DEFLATED), ("zip-store", zipfile.ZIP_STORED)):
        with zipfile.ZipFile(pack(request_for(model_files, archive_format=archive_format, force=True))) as archive:
            assert {entry.compress_type for entry in archive.infolist()} == {method}


def test_a_tarball_has_the_name_on_top(model_files: Path) -> None:
    with tarfile.open(pack(request_for(model_files, archive_format="tgz"))) as archive:
        members = archive.getmembers()
    assert all(member.name.startswith("small/") for member in members)
    assert {(member.mode, member.mtime, member.uid) for member in members} == {(0o644, 0, 0)}


def test_equal_input_gives_equal_bytes(model_files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "strftime", lambda form: "01/01/2026 00:00:00")
    for archive_format in ("default", "tgz"):
        first = pack(request_for(model_files, archive_format=archive_format, force=True)).read_bytes()
        assert pack(request_for(model_files, archive_format=archive_format, force=True)).read_bytes() == first


@pytest.mark.parametrize("archive_format", ["default", "no-archive"])
def test_an_existing_archive_is_kept_unless_forced(
    model_files: Path, archive_format: ArchiveFormat, caplog: pytest.LogCaptureFixture
) -> None:
    pack(request_for(model_files, archive_format=archive_format))
    with pytest.raises(Conflict, match="exists already"):
        pack(request_for(model_files, archive_format=archive_format))
    again = pack(request_for(model_files, archive_format=archive_format, version="3.0", force=True))
    assert "Overwriting" in caplog.text
    assert unpack(again, model_files.parent / "unpacked").manifest.model_version == "3.0"


@pytest.mark.parametrize("name", ["", ".hidden", "-dash", "a/b", "../up", "späte", "a b"])
def test_a_bad_name_is_refused(model_files: Path, name: str) -> None:
    with pytest.raises(InvalidInput, match="model name"):
        pack(request_for(model_files, model_name=name))


@pytest.mark.parametrize("missing", ["serialized_file", "model_file", "requirements_file", "config_file"])
def test_a_missing_file_is_named_and_nothing_is_left(model_files: Path, missing: str) -> None:
    with pytest.raises(NotFound, match=r"File does not exist: .*gone"):
        pack(request_for(model_files, **{missing: model_files / "gone"}))
    assert sorted(path.name for path in model_files.parent.iterdir()) == ["model"]


def test_missing_handler_and_extra_file_are_named(model_files: Path) -> None:
    with pytest.raises(NotFound, match=r"gone\.py"):
        pack(request_for(model_files, handler="gone:entry"))
    with pytest.raises(NotFound, match="nowhere"):
        pack(request_for(model_files, extra_files=("nowhere",)))


def test_a_pattern_without_a_match_only_warns(model_files: Path, caplog: pytest.LogCaptureFixture) -> None:
    pack(request_for(model_files, extra_files=(str(model_files / "*.none"),)))
    assert "no file matches" in caplog.text


def test_a_name_that_two_files_claim_is_told(model_files: Path, caplog: pytest.LogCaptureFixture) -> None:
    other = model_files / "other"
    other.mkdir()
    (other / "net.py").write_text("class Other: ...\n")
    unpacked = unpack(pack(request_for(model_files, extra_files=(str(other),))), model_files.parent / "unpacked")
    assert (unpacked.directory / "net.py").read_text() == "class Other: ...\n"
    assert "takes the place of" in caplog.text


def test_an_unpacked_archive_can_be_packed_again(model_files: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = pack(request_for(model_files, archive_format="no-archive"))
    again = pack(request_for(model_files, extra_files=(str(folder),), version="9.0"))
    assert unpack(again, model_files.parent / "unpacked").manifest.model_version == "9.0"
    assert "gets its own" in caplog.text


def test_links_are_followed_but_not_in_circles(model_files: Path) -> None:
    elsewhere = model_files.parent / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "far.txt").write_text("far")
    (model_files / "extra" / "linked").symlink_to(elsewhere)
    extra = (str(model_files / "extra"),)
    unpacked = unpack(pack(request_for(model_files, extra_files=extra)), model_files.parent / "unpacked")
    assert (unpacked.directory / "linked" / "far.txt").read_text() == "far"

    (model_files / "extra" / "nested" / "loop").symlink_to(model_files / "extra")
    with pytest.raises(InvalidInput, match="loop is a link to a folder that it lies in"):
        pack(request_for(model_files, extra_files=extra, force=True))


@pytest.mark.parametrize(
    ("handler", "file"),
    [
        ("image_classifier", None),
        ("trt_llm_handler", None),
        ("my.py", "my.py"),
        ("dir/my.py:entry", "dir/my.py"),
        ("dir/my:entry", "dir/my.py"),
        ("my", "my.py"),
    ],
)
def test_which_file_a_handler_means(handler: str, file: str | None) -> None:
    assert handler_file(handler, "python") == (None if file is None else Path(file))


def test_which_file_a_native_handler_means() -> None:
    assert handler_file("TorchScriptHandler", "LSP") is None
    assert handler_file("lib:Mine", "LSP") == Path("lib.so")
    assert handler_file("lib.dylib", "LSP") == Path("lib.dylib")
