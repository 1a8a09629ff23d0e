"""What doctor says about checkpoints: whether they are tensors only. Reads a pickle's opcodes, never loads it."""

from __future__ import annotations

import pickletools
import zipfile
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

from flambeau.programs.doctor.findings import Finding, Level, Row

ENDINGS = (".pt", ".pth", ".bin", ".ckpt")
PICKLE_BYTES_MAX = 64 << 20
"""Of a pickle, so much is looked at; tensors' bytes are not in it."""

_PICKLES = 5
"""A checkpoint of before torch 1.6 is so many pickles, one behind the other; a newer one is a zip with one."""
_SAFE_MODULES = ("torch._utils", "torch.storage", "torch.serialization", "torch.nn.parameter", "collections", "_codecs", "torch")


def examine_weights(path: Path, place: str) -> Finding | None:
    """Return what is to be said about a checkpoint; None: it holds tensors only, or is none."""
    try:
        pickle = _pickle_of(path)
        if pickle is None:
            return None
        foreign = _foreign_globals(pickle)
    except (OSError, zipfile.BadZipFile, RuntimeError, ValueError) as error:
        return Finding(
            Level.CHANGE, place, f"cannot be read as a checkpoint: {error}", "save it again with torch.save(model.state_dict(), ...)"
        )
    if not foreign:
        return None
    shown = ", ".join(foreign[:3]) + (f" and {len(foreign) - 3} more" if len(foreign) > 3 else "")
    return Finding(
        Level.CHANGE,
        place,
        f"holds more than tensors ({shown}), so that loading it can run code",
        "save model.state_dict() instead, or, if you trust it, set TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD=1 in the server's environment",
        Row.TORCH_LOAD,
    )


def _pickle_of(path: Path) -> bytes | None:
    """Return the pickle in a checkpoint; None for TorchScript, which brings its code, and for files that are no checkpoint."""
    with path.open("rb") as file:
        head = file.read(2)
        if head.startswith(b"\x80"):
            return head + file.read(PICKLE_BYTES_MAX)
    if head != b"PK":
        return None
    with zipfile.ZipFile(path) as packed:
        names = packed.namelist()
        pickle = next((name for name in names if name.endswith("/data.pkl") or name == "data.pkl"), None)
        if pickle is None or any("/code/" in name for name in names):
            return None
        with packed.open(pickle) as file:
            return file.read(PICKLE_BYTES_MAX)


def _foreign_globals(content: bytes) -> list[str]:
    """Return the classes and functions that a checkpoint's pickles name and that tensors don't need."""
    file, found = BytesIO(content), dict[str, None]()
    for number in range(_PICKLES):
        try:
            found |= dict.fromkeys(name for module, name in _globals(file) if module not in _SAFE_MODULES)
        except ValueError:
            if number == 0:
                raise
            break  # behind an old checkpoint's pickles are its tensors' bytes
    return list(found)


def _globals(file: BytesIO) -> Iterator[tuple[str, str]]:
    """Return the module and the full name of everything that the next pickle of a file imports."""
    texts: list[str] = []
    for opcode, argument, _ in pickletools.genops(file):
        if opcode.name == "GLOBAL" and isinstance(argument, str):
            module, _, name = argument.partition(" ")
            yield module, f"{module}.{name}"
        elif opcode.name == "STACK_GLOBAL" and len(texts) > 1:
            yield texts[-2], ".".join(texts[-2:])
        elif isinstance(argument, str):
            texts.append(argument)
