from __future__ import annotations

import gzip
import io
import stat
import tarfile
import zipfile
from pathlib import Path

import pytest

from flambeau.foundation.errors import FlambeauError, InvalidInput, NotFound, TooLarge
from flambeau.foundation.unpack_guard import UnpackLimits
from flambeau.serving.archive.manifest import Manifest
from flambeau.serving.archive.unpack import unpack

MANIFEST = '{"model": {"modelName": "m", "handler": "h.py"}}'


def refused(archive: Path, limits: UnpackLimits | None = None) -> FlambeauError:
    """Unpack, expect a refusal that leaves nothing, and return it."""
    root = archive.parent / "root"
    with pytest.raises(FlambeauError) as caught:
        unpack(archive, root, limits)
    assert not root.exists() or list(root.iterdir()) == []
    assert archive.name in caught.value.message
    assert not (archive.parent / "evil").exists()
    return caught.value


def zip_of(path: Path, *entries: tuple[str | zipfile.ZipInfo, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in entries:
            archive.writestr(name, content)
    return path


def tar_of(path: Path, *entries: tuple[tarfile.TarInfo | str, bytes]) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for name, content in entries:
            entry = tarfile.TarInfo(name) if isinstance(name, str) else name
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return path


def special(name: str, kind: bytes, target: str = "") -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.type, entry.linkname = kind, target
    return entry


UNSAFE_NAMES = ["../evil", "/evil", "a/../../evil", "a\\..\\evil", "..", "/", "a//b", "a/./b"]


@pytest.mark.parametrize("name", UNSAFE_NAMES)
def test_paths_that_leave_the_archive_are_refused(tmp_path: Path, name: str) -> None:
    for archive in (zip_of(tmp_path / "m.mar", (name, b"x")), tar_of(tmp_path / "m.tar.gz", (name, b"x"))):
        error = refused(archive)
        assert isinstance(error, InvalidInput)
        assert repr(name) in error.message
        assert error.hint


@pytest.mark.parametrize("names", [("a.py", "A.py"), ("a", "a"), ("d/x", "D/y"), ("d", "d/x"), ("d/x", "d"), ("e\u0301", "\u00e9")])
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_names_that_collide_are_refused(tmp_path: Path, names: tuple[str, str]) -> None:
    entries = [(name, b"x") for name in names]
    for archive in (zip_of(tmp_path / "m.mar", *entries), tar_of(tmp_path / "m.tar.gz", *entries)):
        assert "are one file on some systems" in refused(archive).message


@pytest.mark.parametrize(
    ("kind", "word"),
    [
        (tarfile.SYMTYPE, "link"),
        (tarfile.LNKTYPE, "link"),
        (tarfile.CHRTYPE, "special file"),
        (tarfile.BLKTYPE, "special file"),
        (tarfile.FIFOTYPE, "special file"),
    ],
)
def test_a_tarball_holds_only_files_and_folders(tmp_path: Path, kind: bytes, word: str) -> None:
    archive = tar_of(tmp_path / "m.tar.gz", ("first", b"x"), (special("thing", kind, "/etc/passwd"), b""))
    assert f"the {word} 'thing'" in refused(archive).message


@pytest.mark.parametrize(("kind", "word"), [(stat.S_IFLNK, "link"), (stat.S_IFCHR, "special file"), (stat.S_IFIFO, "special file")])
def test_a_zip_holds_only_files_and_folders(tmp_path: Path, kind: int, word: str) -> None:
    entry = zipfile.ZipInfo("thing")
    entry.create_system, entry.external_attr = 3, (kind | 0o777) << 16
    assert f"the {word} 'thing'" in refused(zip_of(tmp_path / "m.mar", (entry, b"/etc/passwd"))).message


def test_bombs_stop_at_the_limit(tmp_path: Path) -> None:
    limits = UnpackLimits(ratio_free_bytes=100_000, ratio_max=10)
    for archive in (zip_of(tmp_path / "m.mar", ("zeros", bytes(2_000_000))), tar_of(tmp_path / "m.tar.gz", ("zeros", bytes(2_000_000)))):
        error = refused(archive, limits)
        assert isinstance(error, TooLarge)
        assert "expands to more than 100000 bytes" in error.message


def test_a_bomb_in_a_tar_header_stops_at_the_limit(tmp_path: Path) -> None:
    header = special("pax", tarfile.XHDTYPE)
    error = refused(tar_of(tmp_path / "m.tar.gz", (header, bytes(5_000_000))), UnpackLimits(ratio_free_bytes=100_000, ratio_max=10))
    assert isinstance(error, TooLarge)


def test_the_total_is_bounded_whatever_the_ratio(tmp_path: Path) -> None:
    archive = zip_of(tmp_path / "m.mar", ("a", b"x" * 600), ("b", b"x" * 600))
    assert isinstance(refused(archive, UnpackLimits(expanded_bytes_max=1000)), TooLarge)


def test_entries_are_counted(tmp_path: Path) -> None:
    archive = zip_of(tmp_path / "m.mar", *((f"f{number}", b"") for number in range(11)))
    assert "more than 10 entries" in refused(archive, UnpackLimits(entries_max=10)).message


def test_a_lying_size_gives_no_more_than_it_says(tmp_path: Path) -> None:
    archive = zip_of(tmp_path / "m.mar", ("zeros", bytes(1000)))
    content = archive.read_bytes()
    archive.write_bytes(content.replace((1000).to_bytes(4, "little"), (10).to_bytes(4, "little")))
    assert "truncated or damaged" in refused(archive).message


@pytest.mark.parametrize(
    ("content", "looks"),
    [
        (b"", "an empty file"),
        (b"<!DOCTYPE html><html>sign in</html>", "an HTML page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "a git-lfs pointer"),
        (b"<?xml version='1.0'?><Error><Code>NoSuchKey</Code></Error>", "an XML document"),
        (b'{"error": "denied"}', "a JSON document"),
        (b"\x80\x02}q\x00.", "a pickle"),
        (b"just text", "something else"),
    ],
)
def test_what_is_no_archive_is_described(tmp_path: Path, content: bytes, looks: str) -> None:
    archive = tmp_path / "m.mar"
    archive.write_bytes(content)
    error = refused(archive)
    assert looks in error.message
    assert f"its {len(content)} bytes" in error.message
    assert error.hint


def test_a_checkpoint_is_told_from_an_archive(tmp_path: Path) -> None:
    assert "is a PyTorch checkpoint" in refused(zip_of(tmp_path / "m.mar", ("weights/data.pkl", b"x"), ("weights/version", b"3"))).message


@pytest.mark.parametrize("keep", [0.3, 0.9])
def test_truncated_archives_are_told(tmp_path: Path, keep: float) -> None:
    noise = bytes((number * 7919) % 251 for number in range(5000))
    for archive in (zip_of(tmp_path / "m.mar", ("a", noise)), tar_of(tmp_path / "m.tar.gz", ("a", noise))):
        content = archive.read_bytes()
        archive.write_bytes(content[: int(len(content) * keep)])
        assert "truncated or damaged" in refused(archive).message


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
@pytest.mark.parametrize("place", [60, 100, 400])
def test_damage_inside_is_told(tmp_path: Path, method: int, place: int) -> None:
    archive = tmp_path / "m.mar"
    with zipfile.ZipFile(archive, "w", method) as packed:
        packed.writestr("a", bytes((number * 7919) % 251 for number in range(5000)))
    content = bytearray(archive.read_bytes())
    content[min(place, len(content) // 2)] ^= 0xFF
    archive.write_bytes(content)
    assert "truncated or damaged" in refused(archive).message


def test_gzip_of_something_else_is_told(tmp_path: Path) -> None:
    archive = tmp_path / "m.tar.gz"
    archive.write_bytes(gzip.compress(b"not a tar, " * 100))
    assert "truncated or damaged" in refused(archive).message


def test_an_encrypted_archive_is_told(tmp_path: Path) -> None:
    archive = zip_of(tmp_path / "m.mar", ("a", b"x"))
    content = bytearray(archive.read_bytes())
    content[6] |= 1  # the flag in the file's own header and in the directory's
    content[content.index(b"PK\x01\x02") + 8] |= 1
    archive.write_bytes(content)
    assert "is encrypted" in refused(archive).message


def test_a_broken_manifest_leaves_nothing(tmp_path: Path) -> None:
    assert "is not JSON" in refused(zip_of(tmp_path / "m.mar", ("MAR-INF/MANIFEST.json", b"{"))).message


def test_a_huge_manifest_is_refused(tmp_path: Path) -> None:
    assert isinstance(refused(zip_of(tmp_path / "m.mar", ("MAR-INF/MANIFEST.json", b" " * 2_000_000))), TooLarge)


def test_a_name_too_long_for_the_disk_is_told(tmp_path: Path) -> None:
    assert "too long" in refused(zip_of(tmp_path / "m.mar", ("n" * 300, b"x"))).message


def test_no_such_file(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"m\.mar does not exist"):
        unpack(tmp_path / "m.mar", tmp_path / "root")


def test_the_form_is_told_by_content_not_by_name(tmp_path: Path) -> None:
    archive = tar_of(tmp_path / "m.mar", ("m/MAR-INF/MANIFEST.json", MANIFEST.encode()), ("m/h.py", b"pass"))
    unpacked = unpack(archive, tmp_path / "root")
    assert unpacked.manifest.model_name == "m"
    assert (unpacked.directory / "h.py").read_bytes() == b"pass"
    assert list((tmp_path / "root").iterdir()) == [unpacked.directory]


def test_dots_as_tar_writes_them_are_fine(tmp_path: Path) -> None:
    archive = tar_of(
        tmp_path / "m.tar.gz", (special("./", tarfile.DIRTYPE), b""), ("./h.py", b"pass"), ("./MAR-INF/MANIFEST.json", MANIFEST.encode())
    )
    assert (unpack(archive, tmp_path / "root").directory / "h.py").is_file()


def test_an_archive_without_manifest_is_legal(tmp_path: Path) -> None:
    unpacked = unpack(zip_of(tmp_path / "m.mar", ("h.py", b"pass"), ("w.pt", b"x")), tmp_path / "root")
    assert unpacked.manifest == Manifest()


def test_each_call_makes_a_folder_of_its_own(tmp_path: Path) -> None:
    archive = zip_of(tmp_path / "m.mar", ("h.py", b"pass"))
    assert unpack(archive, tmp_path / "root").directory != unpack(archive, tmp_path / "root").directory


def test_a_folder_is_used_where_it_is(tmp_path: Path) -> None:
    folder = tmp_path / "outer" / "inner"
    (folder / "MAR-INF").mkdir(parents=True)
    (folder / "MAR-INF" / "MANIFEST.json").write_text(MANIFEST)
    (folder / "h.py").write_text("pass")
    for archive in (folder, folder.parent):
        unpacked = unpack(archive, tmp_path / "root")
        assert unpacked.directory == folder
        assert unpacked.manifest.handler == "h.py"
    assert not (tmp_path / "root").exists()
