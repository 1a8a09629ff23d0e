"""Model formats that need no handler: which file of a folder is the model, and which of our handlers runs it.

Source: KServe's own servers look for these endings, and refuse a folder with two such files.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from flambeau.foundation.errors import InvalidInput

HEAD_BYTES = 512
"""So much of a file tells XGBoost's from LightGBM's."""
CONFIG_BYTES_MAX = 1_048_576
"""A config.json above this is not a model's."""
SHARDS_SUFFIX = ".safetensors"


@dataclass(frozen=True, slots=True)
class Format:
    """How a model of this format is found and run."""

    handler: str
    """A built-in handler."""
    endings: tuple[str, ...]
    """Of the one file that is the model; empty: the folder is."""


FORMATS = {
    "sklearn": Format("sklearn_model", (".joblib", ".pkl", ".pickle")),
    "xgboost": Format("xgboost_model", (".bst", ".json", ".ubj")),
    "lightgbm": Format("lightgbm_model", (".bst", ".txt")),
    "onnx": Format("onnx_model", (".onnx",)),
    "torch": Format("torch_model", (".pt", ".pth", ".pt2")),
    "huggingface": Format("huggingface_model", ()),
}


@dataclass(frozen=True, slots=True)
class Found:
    """A model in a folder."""

    format: str
    file: str | None
    """None: the folder is the model."""

    @property
    def handler(self) -> str:
        """The built-in handler that runs it."""
        return FORMATS[self.format].handler


def model_in(directory: Path, wanted: str | None = None) -> Found:
    """Return the model that a folder holds.

    Args:
        directory: where to look; not in its folders.
        wanted: the format that somebody named; None: the files say.

    Raises:
        InvalidInput: there is none, or more than one; the text names the files.
    """
    if wanted is None:
        found = found_in(directory)
        if len({each.format for each in found}) > 1:
            raise _several(directory, [each.file or "config.json" for each in found], "a model")
        if not found:
            endings = ", ".join(ending for each in FORMATS.values() for ending in each.endings)
            raise _none(directory, f"none of its files ends with {endings}, and it is no folder of transformers")
        wanted = found[0].format
    form = FORMATS[wanted]
    if not form.endings:
        if not _is_transformers(directory):
            raise _none(directory, "there is no config.json with weights beside it")
        return Found(wanted, None)
    files = _files(directory, form.endings)
    if wanted == "torch" and len(files) > 1:
        files = [name for name in files if name.startswith("model.")] or files
    if not files:
        raise _none(directory, f"none of its files ends with {', '.join(form.endings)}")
    if len(files) > 1:
        raise _several(directory, files, f"the {wanted} model")
    return Found(wanted, files[0])


def found_in(directory: Path) -> list[Found]:
    """Return every model that a folder's files look like; several of one format are several elements."""
    if _is_transformers(directory):
        return [Found("huggingface", None)]
    found = []
    for name in sorted(entry.name for entry in directory.iterdir() if entry.is_file()):
        ending = Path(name).suffix
        formats = [key for key, form in FORMATS.items() if ending in form.endings]
        if ending in (".bst", ".json", ".txt"):
            formats = _boosters(directory / name)
        found += [Found(each, name) for each in formats]
    return found


def _boosters(path: Path) -> list[str]:
    """Tell whose a booster's file is; texts and JSON documents of other kinds are nobody's."""
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
    if head.startswith(b"tree\n"):
        return ["lightgbm"]
    if path.suffix == ".bst" or (path.suffix == ".json" and b'"learner"' in head):
        return ["xgboost"]
    return []


def _is_transformers(directory: Path) -> bool:
    config = directory / "config.json"
    if not config.is_file() or config.stat().st_size > CONFIG_BYTES_MAX:
        return False
    try:
        document = json.loads(config.read_bytes())
    except (ValueError, RecursionError):
        return False
    weights = any(entry.suffix == SHARDS_SUFFIX or entry.name.startswith("pytorch_model") for entry in directory.iterdir())
    return isinstance(document, dict) and ("model_type" in document or "architectures" in document) and weights


def _files(directory: Path, endings: tuple[str, ...]) -> list[str]:
    return sorted(entry.name for entry in directory.iterdir() if entry.is_file() and entry.suffix in endings)


def _none(directory: Path, why: str) -> InvalidInput:
    names = ", ".join(sorted(entry.name for entry in directory.iterdir())[:10]) or "nothing"
    return InvalidInput(f"there is no model in {directory.name}: {why}", hint=f"it holds {names}", reason="ModelMissing")


def _several(directory: Path, names: list[str], what: str) -> InvalidInput:
    return InvalidInput(
        f"cannot tell {what} in {directory.name}: more than one file could be it: {', '.join(names)}",
        hint="keep one model file in the folder",
        reason="MoreThanOneModelFile",
    )
