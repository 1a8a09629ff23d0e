from __future__ import annotations

import asyncio
import os
import subprocess
from pathlib import Path

import pytest

from flambeau.foundation.errors import InvalidInput, TimedOut, TooLarge
from flambeau.serving.archive import requirements
from flambeau.serving.archive.requirements import install_requirements, interpreter_in
from tests.fixtures.waiting import until
from tests.fixtures.wheels import write_wheel

WHEEL = "--no-index\n./flambeau_tiny-1.0-py3-none-any.whl\n"


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    folder = tmp_path / "archive"
    folder.mkdir()
    write_wheel(folder)
    (folder / "requirements.txt").write_text(WHEEL)
    return folder


async def test_the_same_file_is_installed_once(archive: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    first = await install_requirements(archive, "requirements.txt", cache)
    assert (first.directory / "flambeau_tiny.py").read_text() == "WORD = 'tiny'\n"
    (first.directory / "mark").touch()
    second = await install_requirements(archive, "requirements.txt", cache)
    assert second.directory == first.directory
    assert (second.directory / "mark").exists()
    assert [path.name for path in cache.iterdir()] == [first.directory.name]
    for packages in (first, second):
        packages.release()
        packages.release()


async def test_a_virtual_environment_sees_its_own_packages_first_and_the_servers_behind(archive: Path, tmp_path: Path) -> None:
    plain = await install_requirements(archive, "requirements.txt", tmp_path / "cache")
    packages = await install_requirements(archive, "requirements.txt", tmp_path / "cache", venv=True)
    python = interpreter_in(packages.directory)
    assert python is not None
    assert interpreter_in(plain.directory) is None
    code = "import flambeau, flambeau_tiny, orjson, sys; print(flambeau_tiny.WORD, flambeau_tiny.__file__, orjson.__file__, sys.prefix)"
    told = await asyncio.to_thread(lambda: subprocess.run([python, "-P", "-c", code], capture_output=True, text=True, check=True).stdout)
    word, own, servers, prefix = told.split()
    assert word == "tiny"
    assert own.startswith(str(packages.directory))
    assert not servers.startswith(str(packages.directory))
    assert prefix == str(packages.directory)
    again = await install_requirements(archive, "requirements.txt", tmp_path / "cache", venv=True)
    assert again.directory == packages.directory
    for each in (plain, packages, again):
        each.release()


async def test_another_wheel_under_the_same_name_is_another_installation(archive: Path, tmp_path: Path) -> None:
    first = await install_requirements(archive, "requirements.txt", tmp_path / "cache")
    write_wheel(archive, word="other")
    second = await install_requirements(archive, "requirements.txt", tmp_path / "cache")
    assert (second.directory / "flambeau_tiny.py").read_text() == "WORD = 'other'\n"
    first.release()
    second.release()


async def test_what_is_unused_longest_is_removed_but_nothing_in_use(archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(requirements, "FOLDERS_KEPT_MAX", 1)
    cache = tmp_path / "cache"
    used = await install_requirements(archive, "requirements.txt", cache)
    write_wheel(archive, word="b")
    unused = await install_requirements(archive, "requirements.txt", cache)
    assert used.directory.exists()
    unused.release()
    os.utime(unused.directory, (1, 1))
    write_wheel(archive, word="c")
    third = await install_requirements(archive, "requirements.txt", cache)
    assert used.directory.exists()
    assert not unused.directory.exists()
    used.release()
    third.release()


@pytest.mark.parametrize(
    ("text", "error", "why"),
    [
        (None, InvalidInput, "does not hold it"),
        ("x" * 70_000, TooLarge, "over 65536 bytes"),
        ("--no-index\nno-such-package-here\n", InvalidInput, r"Custom pip package installation failed.*no-such-package-here"),
        ("--nonsense\n", InvalidInput, "nonsense"),
    ],
)
async def test_what_cannot_be_installed(archive: Path, tmp_path: Path, text: str | None, error: type[Exception], why: str) -> None:
    path = archive / "requirements.txt"
    path.unlink()
    if text is not None:
        path.write_text(text)
    cache = tmp_path / "cache"
    with pytest.raises(error, match=why):
        await install_requirements(archive, "requirements.txt", cache)
    assert not cache.exists() or list(cache.iterdir()) == []


async def test_an_installation_that_takes_too_long_is_ended(archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(requirements, "INSTALL_SECONDS_MAX", 0.01)
    with pytest.raises(TimedOut, match="took over"):
        await install_requirements(archive, "requirements.txt", tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


async def test_a_cancelled_installation_leaves_nothing(archive: Path, tmp_path: Path) -> None:
    task = asyncio.create_task(install_requirements(archive, "requirements.txt", tmp_path / "cache"))
    await until((tmp_path / "cache").exists)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert list((tmp_path / "cache").iterdir()) == []
