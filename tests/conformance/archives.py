"""Make a set-up's model store out of the handlers in ``handlers/``.

Our own archiver makes them, so that the original loads what we write; what the original's archiver writes lies under
``recorded/archives`` and is loaded by us (``from: NAME`` in a set-up).
"""

from __future__ import annotations

import shutil
import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from flambeau.serving.archive.pack import ArchiveRequest, pack
from tests.conformance.case import HERE

HANDLERS = HERE / "handlers"
BY_THE_ORIGINAL = HERE / "recorded" / "archives"


def fill_store(store: Path, models: tuple[Mapping[str, Any], ...]) -> None:
    """Write every archive of a set-up into a new model store."""
    store.mkdir()
    for model in models:
        if (name := model.get("from")) is not None:
            shutil.copy(BY_THE_ORIGINAL / name, store / name)
        elif (bare := model.get("bare")) is not None:
            _bare(store, bare, model)
        else:
            _packed(store, model)


def _packed(store: Path, model: Mapping[str, Any]) -> None:
    """Pack ``name``, with ``version`` 1.0, ``handler`` NAME.py, ``config`` (YAML), ``format``, ``extra`` files, as ``file``."""
    config: Path | None = None
    work = store.parent / "sources" / model["name"]
    work.mkdir(parents=True, exist_ok=True)
    if "config" in model:
        config = work / "model-config.yaml"
        config.write_text(model["config"] if isinstance(model["config"], str) else yaml.safe_dump(model["config"]))
    extra = []
    for name, text in model.get("extra", {}).items():
        (work / name).write_text(text)
        extra.append(str(work / name))
    handler, _, function = model.get("handler", model["name"]).partition(":")
    path = handler if model.get("built_in") else str(HANDLERS / f"{handler}.py")
    made = pack(
        ArchiveRequest(
            model_name=model["name"],
            version=str(model.get("version", "1.0")),
            handler=f"{path}:{function}" if function else path,
            extra_files=tuple(extra),
            config_file=config,
            archive_format=model.get("format", "default"),
            export_path=work,
            force=True,
        )
    )
    made.rename(store / model.get("file", made.name))


def _bare(store: Path, name: str, model: Mapping[str, Any]) -> None:
    """Write what is no proper archive: a folder, zip or tar of given ``members`` (name -> text, or a handler's name)."""
    members = {key: (HANDLERS / f"{text}.py").read_text() if text in _handler_names() else text for key, text in model["members"].items()}
    target = store / name
    if name.endswith((".mar", ".war")):
        with zipfile.ZipFile(target, "w") as archive:
            for key, text in members.items():
                archive.writestr(key, text)
        return
    folder = store.parent / "sources" / name if name.endswith(".tar.gz") else target
    for key, text in members.items():
        (folder / key).parent.mkdir(parents=True, exist_ok=True)
        (folder / key).write_text(text)
    if name.endswith(".tar.gz"):
        with tarfile.open(target, "w:gz") as archive:
            archive.add(folder, arcname=name.removesuffix(".tar.gz"))


def _handler_names() -> set[str]:
    return {path.stem for path in HANDLERS.glob("*.py")}
