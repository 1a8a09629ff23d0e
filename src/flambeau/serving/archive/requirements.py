"""Install what an archive's requirements file asks for, once per content, beside the server's own packages.

The repository calls it before a model's workers start, where install_py_dep_per_model allows it. The packages go into a folder of their
own that only this model's workers have on their module path; the folder is kept for the next start of a model with the same file.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import hashlib
import os
import shutil
import signal
import sys
import sysconfig
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from venv import EnvBuilder

from flambeau.foundation.errors import InvalidInput, TimedOut, TooLarge, Unavailable
from flambeau.foundation.files import is_safe_relative

INSTALL_SECONDS_MAX = 900.0
"""One run of pip; torch from a slow mirror takes minutes."""
FILE_BYTES_MAX = 65_536
"""A requirements file above this is refused."""
FOLDERS_KEPT_MAX = 16
"""Installed folders that are kept; of more, those unused longest are removed, never one in use."""
OUTPUT_BYTES_SHOWN = 600
"""Of pip's words, so much of the end goes into an error."""


@dataclass(slots=True)
class Packages:
    """An installed folder, in use until ``release``."""

    directory: Path
    _handle: int

    def release(self) -> None:
        """Let others remove the folder."""
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1


async def install_requirements(directory: Path, file: str, cache: Path, *, venv: bool = False) -> Packages:
    """Install an archive's requirements, or find them installed.

    Args:
        directory: where the archive was unpacked; relative paths in the file start here.
        file: the requirements file's name in it.
        cache: where installed folders are kept.
        venv: make the folder a virtual environment, which sees the server's own packages behind its own (useVenv).

    Raises:
        InvalidInput: the file is missing or too large, or pip refuses it; the text has pip's last words.
        TimedOut: pip took over INSTALL_SECONDS_MAX.
        Unavailable: there is no pip, or the cache cannot be written.

    Cancel: pip is killed, nothing is left.
    """
    try:
        target = cache / f"{_digest(directory, file)}{'-venv' if venv else ''}"
        packages = _in_use(target)
        if packages is None:
            cache.mkdir(parents=True, exist_ok=True)
            staging = Path(tempfile.mkdtemp(prefix=".installing-", dir=cache))
            try:
                await (
                    _fill_venv(directory, file, staging, target)
                    if venv
                    else _run_pip(directory, file, ["install", "--target", str(staging)])
                )
                with contextlib.suppress(OSError):  # another server was faster: its folder is as good
                    staging.rename(target)
            finally:
                shutil.rmtree(staging, ignore_errors=True)
            _remove_unused(cache)
            packages = _in_use(target)
    except OSError as error:
        raise Unavailable(f"cannot install {file}: {error.strerror or error}") from error
    if packages is None:
        raise Unavailable(f"cannot install {file}: its folder was removed at once", hint="try again")
    return packages


def interpreter_in(folder: Path) -> Path | None:
    """Return the Python of an installed folder that is a virtual environment; None of one that is not."""
    return folder / "bin" / "python" if (folder / "pyvenv.cfg").is_file() else None


def _digest(directory: Path, file: str) -> str:
    """Return what names an installation: this Python, the file, and the wheels of the archive that the file points to."""
    path = directory / file
    if not path.is_file():
        raise InvalidInput(f"the archive names {file} as its requirements, but does not hold it")
    if path.stat().st_size > FILE_BYTES_MAX:
        raise TooLarge(f"{file} is over {FILE_BYTES_MAX} bytes")
    content = path.read_bytes()
    digest = hashlib.sha256(f"{sys.executable} {sys.version}\n".encode() + content)
    for line in content.decode("utf-8", "replace").splitlines():
        name = line.strip().removeprefix("./")
        if name.endswith((".whl", ".tar.gz", ".zip")) and is_safe_relative(name) and (directory / name).is_file():
            digest.update((directory / name).read_bytes())
    return digest.hexdigest()[:32]


def _in_use(target: Path) -> Packages | None:
    """Mark a folder as used by this process, if it is there."""
    try:
        handle = os.open(target, os.O_RDONLY | os.O_DIRECTORY)
    except FileNotFoundError:
        return None
    fcntl.flock(handle, fcntl.LOCK_SH)
    packages = Packages(target, handle)
    try:
        if os.path.samestat(os.fstat(handle), target.stat()):
            os.utime(target)  # last used now
            return packages
    except FileNotFoundError:
        pass
    packages.release()
    return None


def _remove_unused(cache: Path) -> None:
    """Remove the folders over the bound that were not used for longest and that no server uses now."""
    folders = sorted((path for path in cache.iterdir() if not path.name.startswith(".")), key=lambda path: path.stat().st_mtime)
    for folder in folders[: max(0, len(folders) - FOLDERS_KEPT_MAX)]:
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            leaving = folder.with_name(f".leaving-{folder.name}")
            folder.rename(leaving)
            shutil.rmtree(leaving, ignore_errors=True)
        except BlockingIOError:
            pass  # somebody uses it
        finally:
            os.close(handle)


async def _fill_venv(directory: Path, file: str, staging: Path, target: Path) -> None:
    """Make a virtual environment that goes on where the server's own packages end, and install into it."""
    await asyncio.to_thread(_make_venv, staging)
    await _run_pip(directory, file, ["--python", str(staging / "bin" / "python"), "install"])
    await asyncio.to_thread(_move_scripts, staging, target)


def _make_venv(folder: Path) -> None:
    EnvBuilder(symlinks=True).create(folder)
    [site_packages] = folder.glob("lib/python*/site-packages")
    # Behind the environment's own packages; as a site directory, so that what is installed there as editable counts too.
    bases = dict.fromkeys((sysconfig.get_path("purelib"), sysconfig.get_path("platlib")))
    lines = [f"import site; site.addsitedir({base!r})\n" for base in bases]
    (site_packages / "server_packages.pth").write_text("".join(lines))


def _move_scripts(staging: Path, target: Path) -> None:
    """Make the environment's commands name the Python of the folder that it will be."""
    for script in (staging / "bin").iterdir():
        if script.is_file() and not script.is_symlink():
            content = script.read_bytes()
            if content.startswith(b"#!"):
                script.write_bytes(content.replace(os.fsencode(staging), os.fsencode(target), 1))


async def _run_pip(directory: Path, file: str, install: Sequence[str]) -> None:
    """Run pip.

    Args:
        directory: where it runs.
        file: the requirements.
        install: pip's command, with where it installs.
    """
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "pip", *install, "--disable-pip-version-check", "--no-input", "--quiet"),
        "-r",
        file,
        cwd=directory,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        start_new_session=True,  # so that what pip builds with can be ended with it
    )
    try:
        async with asyncio.timeout(INSTALL_SECONDS_MAX):
            output, _ = await process.communicate()
    except TimeoutError:
        raise TimedOut(f"installing {file} took over {INSTALL_SECONDS_MAX:.0f} s", hint="install its packages beforehand") from None
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
    if process.returncode == 0:
        return
    words = " ".join(output[-OUTPUT_BYTES_SHOWN:].decode("utf-8", "replace").split())
    if "No module named pip" in words:
        raise Unavailable(f"cannot install {file}: this Python has no pip", hint="install pip, or the packages themselves, beside flambeau")
    raise InvalidInput(f"Custom pip package installation failed: pip cannot install {file}: {words}")
