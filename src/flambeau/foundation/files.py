"""Files that are never half there: written beside, then renamed."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path


def write_atomically(path: Path, content: bytes, *, mode: int = 0o644, synced: bool = True) -> None:
    """Replace a file's content in one step that survives a crash of this process.

    Args:
        path: the file; its folder must exist.
        content: the whole new content.
        mode: permission bits of the new file.
        synced: wait until the disk has it (some ms), so that it survives loss of power too; pointless for what is only told of processes.

    Raises:
        OSError: the disk refused; the old content stands.
    """
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fchmod(file.fileno(), mode)
            if synced:
                os.fsync(file.fileno())
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def is_safe_relative(name: str) -> bool:
    """Tell whether a name from outside stays inside the folder it is joined to.

    Absolute paths, ``..`` steps, NUL, backslashes and empty names are refused.
    """
    if not name or "\0" in name or "\\" in name or name.startswith("/"):
        return False
    return all(part not in ("", ".", "..") for part in name.rstrip("/").split("/"))
