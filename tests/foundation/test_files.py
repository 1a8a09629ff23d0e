"""Files are replaced whole, and names from outside stay inside."""

import os
from pathlib import Path

import pytest

from flambeau.foundation.files import is_safe_relative, write_atomically


def test_a_written_file_has_its_content_and_mode(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    write_atomically(path, b"one", mode=0o600)
    write_atomically(path, b"two", mode=0o600)
    assert path.read_bytes() == b"two"
    assert path.stat().st_mode & 0o777 == 0o600
    assert os.listdir(tmp_path) == ["secret"]


def test_a_failed_write_leaves_the_old_content_and_nothing_beside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "state"
    write_atomically(path, b"old")

    def refuse(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(OSError, match="No space"):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["state"]


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ("a", True),
        ("a/b.txt", True),
        ("a/", True),
        ("", False),
        ("/a", False),
        ("../a", False),
        ("a/../b", False),
        ("a//b", False),
        ("./a", False),
        ("a\\b", False),
        ("a\0b", False),
    ],
)
def test_only_names_that_stay_inside_are_safe(name: str, safe: bool) -> None:
    assert is_safe_relative(name) is safe
